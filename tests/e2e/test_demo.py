"""Proves that the demonstration does what README says of it, and says so plainly where it cannot.
Plays its short version, then plays it without /dev/fuse and without io_uring."""

import ctypes
import json
import os
import struct
import subprocess
import sys

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
        self.assertNotIn("\r", said, "a progress bar where nobody watches")

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
