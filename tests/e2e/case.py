"""What every end-to-end test stands on: a rig of its own, the server's log when it fails, an end in
time, and exit 77 where nothing could be tested."""

import os
import signal
import sys
import unittest

from load import Load
from rig import SLOWNESS, FileLeg, FuseLeg, LoopLeg, Rig, Unavailable

# How much longer than its deadline a request may take on a busy machine.
OVER_S = 0.05 * float(os.environ.get("SUREFOOT_NOISE", "2")) * SLOWNESS


class VolumeTest(unittest.TestCase):
    def setUp(self):
        self.rig = Rig()
        self.addCleanup(self.rig.close)
        self.addCleanup(self._tell)

    def _tell(self):
        result = self._outcome.result
        if any(test is self for test, _ in result.failures + result.errors):
            for log in sorted(self.rig.folder.glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()
                print(f"--- {log.name} (last of {len(lines)} lines)", file=sys.stderr)
                print("\n".join(lines[-40:]), file=sys.stderr)

    def fuse_leg(self, name, **options):
        try:
            return FuseLeg(self.rig, name, **options)
        except Unavailable as reason:
            self.skipTest(str(reason))

    def loop_leg(self, name, **options):
        try:
            return LoopLeg(self.rig, name, **options)
        except Unavailable as reason:
            self.skipTest(str(reason))

    def two_and_one(self, **options):
        """Legs a and b are files, c misbehaves on command."""
        return [FileLeg(self.rig, "a"), FileLeg(self.rig, "b"), self.fuse_leg("c", **options)]

    def served(self, legs=None, server=(), threads=16, **settings):
        """A volume that has just been created, served and all in sync."""
        volume = self.rig.volume(legs, **settings).create()
        running = volume.serve(*server, threads=threads)
        volume.wait_all_in_sync()
        return volume, running

    def load(self, server, **options):
        load = Load(server, **options)
        self.addCleanup(load.stopping.set)
        print(f"seed {load.seed}", file=sys.stderr)
        return load

    def assert_load_well(self, load, server):
        """Nothing failed, nothing was read that should not be there, all that was written is."""
        self.assertEqual([], load.errors)
        self.assertEqual([], load.wrong)
        self.assertFalse(load.connection_lost)
        self.assertEqual([], load.model.verify(server.connect()))

    def assert_longest(self, load, seconds):
        """No request took longer than that, and what this machine itself made it wait."""
        allowed = seconds + OVER_S + 4 * load.pulse.worst_s
        self.assertLessEqual(load.longest(), allowed, f"the machine: {load.pulse.worst_s:.3f} s")

    def stop_and_compare(self, volume, server):
        """The end of every test that healed its legs."""
        volume.wait_all_in_sync()
        server.stop()
        volume.assert_legs_equal()


def main():
    # CTest kills without a word; a little before that, fail with a traceback and clean up.
    def out_of_time(number, frame):
        raise AssertionError("the whole test took too long")

    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(int(os.environ.get("SUREFOOT_TEST_SECONDS", "600")))
    program = unittest.main(verbosity=2, exit=False)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and len(result.skipped) == result.testsRun else 0)
