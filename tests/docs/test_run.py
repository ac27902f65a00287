"""./run with packages that are missing: asked on a terminal, installed without one, named without root.
dpkg-query and apt-get are stand-ins, so nothing is installed; ./run then fails, which ends it."""

import os
import pty
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        folder = Path(self.folder.name)
        folder.chmod(0o755)
        self.called = folder / "called"
        self.called.touch()
        self.called.chmod(0o666)
        for name, text in (("dpkg-query", "exit 1"),
                           ("apt-get", f'echo "$@" >>{self.called}; exit 1')):
            program = folder / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        self.environment = {key: value for key, value in os.environ.items() if key != "CI"}
        self.environment["PATH"] = f"{folder}:{self.environment['PATH']}"

    def as_root(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")

    def without_terminal(self, *words, before=(), **environment):
        result = subprocess.run([*before, ROOT / "run", *words], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env={**self.environment, **environment}, timeout=60)
        return result.returncode, result.stdout

    def on_terminal(self, answer, *words, **environment):
        ours, its = pty.openpty()
        process = subprocess.Popen([ROOT / "run", *words], stdin=its, stdout=its, stderr=its,
                                   env={**self.environment, **environment}, start_new_session=True)
        os.close(its)
        said, answered = b"", False
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not answered and b"[Y/n]" in said:
                os.write(ours, answer)
                answered = True
        os.close(ours)
        return process.wait(60), said.decode(), answered

    def test_no_is_no(self):
        self.as_root()
        code, said, asked = self.on_terminal(b"n\n", "build")
        self.assertEqual((1, True, ""), (code, asked, self.called.read_text()), said)
        self.assertIn("nothing was installed", said)

    def test_end_of_input_is_no(self):
        self.as_root()
        code, said, asked = self.on_terminal(b"\x04", "build")
        self.assertEqual((1, True, ""), (code, asked, self.called.read_text()), said)

    def test_yes(self):
        self.as_root()
        _, said, asked = self.on_terminal(b"\n", "build")
        self.assertTrue(asked, said)
        self.assertIn("update", self.called.read_text())

    def test_not_asked(self):
        self.as_root()
        for words, environment in ((("--yes", "build"), {}), (("build", "--yes"), {}),
                                   (("build",), {"CI": "true"})):
            self.called.write_text("")
            _, said, asked = self.on_terminal(b"", *words, **environment)
            self.assertFalse(asked, said)
            self.assertIn("update", self.called.read_text(), words)
        self.called.write_text("")
        self.without_terminal("build")
        self.assertIn("update", self.called.read_text())

    def test_without_root_all_are_named_first(self):
        """Those of the last part too, and before anything runs."""
        before = ()
        if os.geteuid() == 0:
            before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
            reachable = all(path.stat().st_mode & stat.S_IXOTH for path in ROOT.parents)
            if not reachable:
                self.skipTest("an ordinary user does not reach these sources")
        code, said = self.without_terminal("test", before=before)
        self.assertEqual((1, ""), (code, self.called.read_text()), said)
        for package in ("gcc", "file", "clang-tidy", "fio", "qemu-system-x86", "libclang-rt"):
            self.assertIn(package, said)
        self.assertNotIn("-- ", said.replace("--no-", ""))
        self.assertRegex(said, "sudo apt-get install")


if __name__ == "__main__":
    unittest.main(verbosity=2)
