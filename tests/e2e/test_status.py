"""Proves that the status shows the pace as it is: what was read and written, what is not answered and how
old it is, and since when.  Writes a known amount, then freezes a leg."""

import datetime
import time

from case import VolumeTest, main
from rig import CommandFailed


def age_s(since):
    then = datetime.datetime.strptime(since, "%Y-%m-%dT%H:%M:%S.%fZ")
    return (datetime.datetime.utcnow() - then).total_seconds()


class Status(VolumeTest):
    def test_bytes_and_requests(self):
        """Proves that bytes and requests are counted, for the volume and on each leg."""
        began = time.monotonic()
        volume, server = self.served()
        handle = server.connect()
        for i in range(10):
            handle.pwrite(b"\x11" * 8192, i * 8192)
        for i in range(5):
            handle.pread(4096, i * 4096)
        status = volume.status()
        self.assertEqual((81920, 20480), (status["bytes_written"], status["bytes_read"]))
        self.assertEqual(0, status["in_flight"])
        self.assertEqual(0, status["oldest_ms"])
        self.assertEqual(10, status["latency"]["write"]["count"])
        self.assertEqual(10, sum(n for _, n in status["latency"]["write"]["buckets"]))
        self.assertLessEqual(age_s(status["since"]), time.monotonic() - began + 1)
        for leg in status["legs"]:
            self.assertEqual(81920, leg["bytes_written"])
            self.assertEqual(10, leg["requests"]["writes"])
            self.assertEqual(100000, leg["deadline"]["write_us"])
            self.assertLessEqual(age_s(leg["since"]), time.monotonic() - began + 1)
        self.assertEqual(20480, sum(leg["bytes_read"] for leg in status["legs"]))
        self.stop_and_compare(volume, server)

    def test_settings(self):
        """Proves that every setting is told with its value in force and where it comes from."""
        volume, server = self.served(server=("read_deadline=70ms",), write_deadline="90ms")
        volume.set("flush_deadline", "3s")
        settings = volume.status()["settings"]
        for key, value, source in (("write_deadline", "90ms", "file"), ("read_deadline", "70ms", "parameter"),
                                   ("flush_deadline", "3s", "set"), ("fail_timeout", "30s", "default"),
                                   ("min_legs", "2", "auto"), ("leg.a.write_timeout", "90ms", "default")):
            self.assertEqual({"value": value, "source": source}, settings[key], key)
        shown = self.rig.ctl("--control", volume.control, "show", "vol0")
        self.assertRegex(shown, r"flush_deadline +3s +set\n")
        server.stop()

    def test_waiting_for_a_leg(self):
        """Proves that `leg return --wait` ends when the leg is in sync and not sooner, and that events --since leaves
        out what is older."""
        volume, server = self.served()
        ctl = lambda *words, **options: self.rig.ctl("--control", volume.control, *words, **options)
        handle = server.connect()
        ctl("leg", "fail", "vol0", "b")
        for i in range(16):
            handle.pwrite(b"\x33" * 65536, i * 1024 * 1024)
        self.assertIn("leg b is in sync", ctl("leg", "return", "vol0", "b", "--wait"))
        self.assertEqual("in-sync", volume.leg("b")["state"])
        with self.assertRaises(CommandFailed):
            ctl("leg", "fail", "vol0", "b", "--wait")
        self.assertIn("leg b: in-sync -> faulty", ctl("events", "--since", "10m"))
        self.assertEqual("", ctl("events", "--since", "2099-01-01"))
        ctl("grow", "vol0", "+32M")
        self.assertEqual(volume.size + 32 * 1024 * 1024, volume.status()["size_bytes"])
        server.stop()

    def test_a_frozen_leg_is_slow(self):
        """Proves that a leg that answers nothing is shown as what it is: its requests grow old, and its
        slowest answer is not one from before."""
        legs = self.two_and_one()
        volume, server = self.served(legs)
        handle = server.connect()
        for i in range(20):
            handle.pwrite(b"\x11" * 4096, i * 4096)
        legs[2].freeze()
        handle.pwrite(b"\x22" * 4096, 0)
        volume.wait_leg("c", "late")
        frozen = volume.wait_for(lambda status: volume.leg("c", status)["oldest_ms"] >= 1000,
                                 "a request that is a second old")
        frozen = volume.leg("c", frozen)
        self.assertGreaterEqual(frozen["in_flight"], 1)
        self.assertGreaterEqual(frozen["latency"]["write"]["max_us"], 1000000)
        self.assertGreaterEqual(frozen["latency"]["write"]["p99_us"], 1000000)
        self.assertGreaterEqual(age_s(frozen["since"]), 0)
        self.assertLess(age_s(frozen["since"]), age_s(volume.leg("a")["since"]))
        self.assertIn("unanswered, the oldest 1", self.rig.ctl("--control", volume.control, "status"))
        legs[2].thaw()
        volume.wait_all_in_sync()
        self.assertGreaterEqual(volume.leg("c")["latency"]["write"]["max_us"], 1000000)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
