"""What is installed for programs that use timed I/O by itself: the example is built against it, by pkg-config, with the
shared library and with the static one, and runs.  The shared one shows what its header declares, and no more."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("SUREFOOT_BUILD", ROOT / "build/test-gcc"))
EXAMPLE = ROOT / "docs/examples/timed_io_example.c"


def output(*command, **options):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="timed-io-")
        cls.prefix = Path(cls.folder.name) / "usr"
        for component in ("timed_io", "dev"):
            output("cmake", "--install", BUILD, "--prefix", cls.prefix, "--component", component)
        (pc,) = cls.prefix.rglob("surefoot-timed-io.pc")
        cls.environment = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), LD_LIBRARY_PATH=str(pc.parents[1]))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def flags(self, *options):
        return output("pkg-config", "--cflags", "--libs", *options, "surefoot-timed-io", env=self.environment).split()

    def build_and_run(self, name, *flags):
        program = Path(self.folder.name) / name
        output("cc", "-D_GNU_SOURCE", "-Wall", "-Werror", EXAMPLE, "-o", program, *flags)
        files = [Path(self.folder.name) / f"{name}.{number}" for number in (1, 2)]
        said = output(program, *files, env=self.environment)
        self.assertIn("all have it", said)
        for file in files:
            self.assertEqual(b"hello", file.read_bytes()[:5])
        return program

    def test_shared(self):
        program = self.build_and_run("shared", *self.flags())
        self.assertIn("libsurefoot-timed-io.so.0", output("readelf", "-d", program))

    def test_static(self):
        program = self.build_and_run("static", "-static", *self.flags("--static"))
        self.assertNotIn("NEEDED", output("readelf", "-d", program))

    def test_it_shows_what_the_header_declares(self):
        header = (self.prefix / "include/surefoot/timed_io.h").read_text()
        declared = set(re.findall(r"(?m)^(?!typedef)\w[\w ]*[ *](sf_tio\w*)\(", header))
        (library,) = self.prefix.rglob("libsurefoot-timed-io.so")
        shown = {line.split()[-1] for line in output("nm", "-D", "--defined-only", library).splitlines()}
        self.assertGreater(len(declared), 30)
        self.assertEqual(declared, shown)

    def test_each_header_stands_alone(self):
        for header in sorted((self.prefix / "include/surefoot").glob("*.h")):
            output("cc", "-std=gnu17", "-Wall", "-Werror", "-fsyntax-only", f"-I{self.prefix / 'include'}",
                   *output("pkg-config", "--cflags", "uuid").split(), "-x", "c", header)


if __name__ == "__main__":
    if os.environ.get("SF_INSTRUMENTED"):
        sys.exit(77)
    unittest.main()
