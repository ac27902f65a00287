"""Proves that the demonstration does what README says of it, and says so plainly where it cannot.
Plays its short version, then plays it without /dev/fuse and without io_uring."""

import ctypes
import fcntl
import importlib.util
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios

from case import VolumeTest, main
from rig import REPOSITORY, SLOWNESS

DEMO = REPOSITORY / "tests" / "demo" / "demo.py"
EPERM = 1


def without_io_uring():
    """In the child, before its exec: io_uring_setup is EPERM, as the usual container filters have it."""
    IO_URING_SETUP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 425, 38, 22, 2
    LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
    ALLOW, ERRNO = 0x7FFF0000, 0x00050000
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in (
        (LOAD, 0, 0, 0), (EQUAL, 0, 1, IO_URING_SETUP), (RETURN, 0, 0, ERRNO | EPERM),
        (RETURN, 0, 0, ALLOW)))
    memory = ctypes.create_string_buffer(program)
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8,
                                                     ctypes.addressof(memory)))
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, MODE_FILTER, header, 0, 0) == 0


def load_demo():
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Demo(VolumeTest):
    def play(self, *before, **options):
        """(exit code, what was said, the JSON of the last line)"""
        build = self.rig.plugin.parent.parent
        command = [*before, sys.executable, DEMO, "--build", build, "--short",
                   "--slack-ms", int(500 * SLOWNESS)]
        result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.STDOUT, timeout=150 * SLOWNESS, **options)
        lines = result.stdout.splitlines()
        return result.returncode, "\n".join(lines[:-1]), json.loads(lines[-1])

    def test_short(self):
        """Proves that the short version ends well and tells the whole story."""
        code, said, result = self.play()
        if code == 77:
            self.skipTest(result["reason"])
        self.assertEqual(0, code, said)
        self.assertEqual((True, True, True, 0), (result["ok"], result["verified"],
                                                 result["legs_equal"],
                                                 result["errors_seen_by_client"]))
        for phase in ("before", "during", "after"):
            self.assertGreater(result[phase]["writes"], 0)
        for word in ("created", "froze leg c", "thawed", "in sync", "byte for byte", "max ms"):
            self.assertIn(word, said)
        self.assertNotIn("\r", said, "a progress bar without a terminal")

    def test_on_a_terminal(self):
        """Proves that a terminal sees no line wider than itself, every row of the table, and no JSON."""
        columns = 64
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        build = self.rig.plugin.parent.parent
        environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
        process = self.rig.spawn([sys.executable, DEMO, "--build", build, "--short",
                                  "--slack-ms", int(500 * SLOWNESS)], stdout=its, stderr=its,
                                 env=environment)
        os.close(its)
        said = b""
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:  # its last process has closed the other end
                break
        os.close(ours)
        code = process.wait()
        text = re.sub(r"\x1b\[\w*?K", "", said.decode())
        if code == 77:
            self.skipTest(text.strip().splitlines()[-1])
        self.assertEqual(0, code, text)
        lines = [piece for line in text.split("\r\n") for piece in line.split("\r")]
        self.assertEqual([], [line for line in lines if len(line) >= columns])
        self.assertTrue(any("[#" in line for line in lines), "no bar")
        rows = [line.split()[0] for line in lines if re.match(r"  [a-z].*\d\.\d\d$", line)]
        self.assertEqual(["before", "during", "catching", "after"], rows, text)
        self.assertFalse(any(line.startswith("{") for line in lines), "JSON on a terminal")

    def test_judgement(self):
        """Proves that a long write is judged beside what the machine itself took in the same run: what is
        explained by it is as promised, what is not is not, and beside a machine that stands still there
        is no judgement."""
        demo = load_demo()
        well = {"verified": True, "legs_equal": True, "errors_seen_by_client": 0, "deadline_ms": 100,
                "baseline_ms": 5, "before": {"max_ms": 10},
                "during": {"max_ms": 120, "seconds": 10}}
        self.assertEqual([], demo.judge(well, 50))
        long = {**well, "during": {"max_ms": 260, "seconds": 10}}
        self.assertEqual(1, len(demo.judge(long, 50)))
        self.assertEqual([], demo.judge({**long, "baseline_ms": 60}, 50))
        self.assertEqual([], demo.judge({**long, "before": {"max_ms": 60}}, 50))
        self.assertEqual(1, len(demo.judge({**well, "legs_equal": False}, 50)))
        self.assertEqual(1, len(demo.judge({**well, "errors_seen_by_client": 1}, 50)))
        with self.assertRaises(demo.Unavailable):
            demo.judge({**long, "baseline_ms": 2000}, 50)

    def test_deadline_of_a_busy_machine(self):
        """Proves that the deadline is 100 ms, and twice the machine's own longest write where that is more."""
        demo = load_demo()
        self.assertEqual([100, 100, 300, 2000],
                         [demo.choose_deadline(longest) for longest in (0.4, 50, 120, 5000)])

    def test_without_fuse(self):
        """Proves that it says what is missing where /dev/fuse is not the device."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        code, said, result = self.play("unshare", "-m", "sh", "-c",
                                       'mount --bind /dev/null /dev/fuse && exec "$@"', "sh")
        self.assertEqual((77, False), (code, result["ok"]))
        self.assertIn("/dev/fuse", said)

    def test_without_io_uring(self):
        """Proves the same for io_uring."""
        code, said, result = self.play(preexec_fn=without_io_uring)
        self.assertEqual((77, False), (code, result["ok"]))
        self.assertIn("io_uring", said)

    def test_server_without_io_uring(self):
        """Proves that nbdkit then ends with a message that says why."""
        volume = self.rig.volume().create()
        result = subprocess.run(["nbdkit", "-f", "-U", self.rig.folder / "s", self.rig.plugin,
                                 volume.conf], stderr=subprocess.PIPE, text=True, timeout=60,
                                preexec_fn=without_io_uring)
        self.assertEqual(1, result.returncode)
        self.assertRegex(result.stderr, "io_uring is forbidden here.*sysctl")


if __name__ == "__main__":
    main()
