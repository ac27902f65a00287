"""Proves R2: while fewer legs than min_legs have a write no leg is demoted and nothing is
acknowledged; the write fails after fail_timeout, or waits until the legs are back.
Freezes two of three legs with min_legs 2."""

import time

import nbd

from case import OVER_S, VolumeTest, main


class TooFew(VolumeTest):
    def frozen_pair(self, **settings):
        legs = [self.rig.file_legs("a")[0], self.fuse_leg("b"), self.fuse_leg("c")]
        volume, server = self.served(legs, min_legs=2, write_deadline="100ms",
                                     flush_deadline="200ms", **settings)
        for leg in legs[1:]:
            leg.freeze()
        return volume, server, legs

    def test_fails_after_fail_timeout(self):
        """Proves that a write fails with EIO at fail_timeout, not sooner and not much later, and
        that the volume serves again when the legs are back.  fail_timeout is one second."""
        volume, server, legs = self.frozen_pair(on_too_few="error", fail_timeout="1s")
        handle = server.connect()
        started = time.monotonic()
        with self.assertRaises(nbd.Error) as failure:
            handle.pwrite(b"\x11" * 4096, 0)
        took = time.monotonic() - started
        self.assertEqual("EIO", failure.exception.errno)
        self.assertGreaterEqual(took, 1.0 - 0.01)
        self.assertLessEqual(took, 1.0 + 0.1 + OVER_S)
        status = volume.status()
        self.assertEqual(3, status["legs_in_sync"] + sum(
            leg["state"] != "in-sync" for leg in status["legs"]))
        self.assertGreaterEqual(status["legs_in_sync"], 2, "too many legs were demoted")
        for leg in legs[1:]:
            leg.thaw()
        volume.wait_all_in_sync()
        handle.pwrite(b"\x22" * 4096, 0)
        self.assertEqual(b"\x22" * 4096, bytes(handle.pread(4096, 0)))
        self.stop_and_compare(volume, server)

    def test_suspends_until_they_are_back(self):
        """Proves that with on_too_few = suspend no write fails, however long it takes.
        Keeps the legs frozen for three times fail_timeout, thaws them, and the write succeeds."""
        volume, server, legs = self.frozen_pair(on_too_few="suspend", fail_timeout="1s")
        with self.load(server, depth=4) as load:
            volume.wait_for(lambda status: status["state"] == "suspended", "suspended")
            load.run_for(3)
            status = volume.status()
            self.assertRegex(status["reason"], r"^waits for legs b and c: \d+ .*the oldest \d\.\d s; 2 legs needed$")
            self.assertEqual(["b", "c"], status["waits_for"])
            self.assertIn(status["reason"].split(":")[0], self.rig.ctl("--control", volume.control, "events"))
            answered = len([op for op in load.operations if op.kind == "write"])
            load.run_for(0.3)
            self.assertEqual(answered, len(load.operations), "a write was acknowledged by one leg")
            for leg in legs[1:]:
                leg.thaw()
            load.wait_count(100)
        self.assertEqual([], load.errors)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_reads_go_on_while_writes_wait(self):
        """Proves that what can be answered is answered: reads of other blocks from the leg that is
        left, while a write waits.  One connection writes, another reads."""
        volume, server, legs = self.frozen_pair(on_too_few="suspend", read_deadline="100ms")
        writer, reader = server.connect(), server.connect()
        cookie = writer.aio_pwrite(b"\x33" * 4096, 0)
        volume.wait_for(lambda status: status["state"] == "suspended", "suspended")
        started = time.monotonic()
        for block in range(16):
            self.assertEqual(bytes(4096), bytes(reader.pread(4096, (1 << 20) + block * 4096)))
        self.assertLessEqual(time.monotonic() - started, 16 * (0.1 + OVER_S))
        self.assertFalse(writer.aio_command_completed(cookie))
        for leg in legs[1:]:
            leg.thaw()
        while not writer.aio_command_completed(cookie):
            writer.poll(1000)
        self.assertEqual(b"\x33" * 4096, bytes(reader.pread(4096, 0)))
        self.stop_and_compare(volume, server)

    def test_the_last_leg_is_never_demoted(self):
        """Proves that a single leg that hangs is waited for.  One of one leg freezes for longer than
        the deadline; the write is there when it thaws."""
        leg = self.fuse_leg("a")
        volume, server = self.served([leg], write_deadline="100ms", fail_timeout="30s")
        handle = server.connect()
        leg.freeze()
        cookie = handle.aio_pwrite(b"\x44" * 4096, 0)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            handle.poll(100)
        self.assertFalse(handle.aio_command_completed(cookie))
        self.assertEqual(1, volume.status()["legs_in_sync"])
        leg.thaw()
        while not handle.aio_command_completed(cookie):
            handle.poll(1000)
        self.assertEqual(b"\x44" * 4096, bytes(handle.pread(4096, 0)))
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
