"""The measure of the host's load, by which the limits of virtual machines grow."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
import load  # noqa: E402


class LoadTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "load"
        self.load = load.Load(0, self.path)
        self.sums = [0.0, 0.0, 0, 0]
        self.kept = load.schedule, load.processors
        load.schedule = lambda pid: tuple(self.sums[:2])
        load.processors = lambda: tuple(self.sums[2:])
        self.load.measure()

    def tearDown(self):
        load.schedule, load.processors = self.kept

    def passes(self, ran=0.0, waited=0.0, used=0, stolen=0):
        for index, more in enumerate((ran, waited, used, stolen)):
            self.sums[index] += more
        self.load.measure()

    def test_idle_host(self):
        self.passes(ran=1.5, used=150)
        self.assertEqual(1, self.load.worst)
        self.assertEqual(1, float(self.path.read_text()))

    def test_busy_host(self):
        """A second of work that waits three for a processor takes four."""
        self.passes(ran=1, waited=3, used=400)
        self.assertEqual(4, self.load.worst)
        self.assertEqual(4, float(self.path.read_text()))

    def test_busy_machine_below(self):
        self.passes(ran=1, waited=1, used=100, stolen=100)
        self.assertEqual(4, self.load.worst)

    def test_guest_that_sleeps(self):
        """What waits a little and does nothing says nothing of the host."""
        self.passes(ran=0.001, waited=0.5, used=400)
        self.assertEqual(1, self.load.worst)

    def test_the_worst_is_kept_for_a_minute(self):
        self.passes(ran=1, waited=8, used=100)
        for _ in range(load.KEPT - 1):
            self.passes(ran=1, used=100)
            self.assertEqual(9, self.load.worst)
        self.passes(ran=1, used=100)
        self.assertEqual(1, self.load.worst)


if __name__ == "__main__":
    unittest.main(verbosity=2)
