"""Proves the product's promise: a leg that hangs holds no request up for longer than the deadline, and
comes back by itself.
Freezes one of three legs under load with SIGSTOP, thaws it, compares the legs byte for byte."""

import time

from case import VolumeTest, main
from rig import MIB

DEADLINE_S = 0.2
DEADLINES = {kind + "_deadline": "200ms" for kind in ("read", "write", "flush")}


class Hang(VolumeTest):
    def under_load(self, mix, frozen_s=3.0, depth=16, **settings):
        legs = self.two_and_one()
        volume, server = self.served(legs, **{**DEADLINES, **settings})
        with self.load(server, mix=mix, depth=depth) as load:
            load.run_for(1)
            frozen = time.monotonic()
            legs[2].freeze()
            load.run_for(frozen_s)
            load.wait_until(lambda: len(load.since(frozen)) > depth * 4)
            thawed = time.monotonic()
            legs[2].thaw()
            volume.wait_all_in_sync()
            load.run_for(0.5)
        # Also what was in flight when the leg froze: at full depth it may be that alone which waits.
        during = [op for op in load.operations
                  if frozen <= op.started + op.seconds and op.started < thawed]
        self.assert_longest(load, DEADLINE_S)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)
        return during, 4 * load.pulse.worst_s

    def test_writes_go_on(self):
        """Proves that no write waits longer than the deadline for a frozen leg, and that only those
        in flight at the first miss wait at all (R4).  Writes at depth 16 for three seconds of it."""
        during, noise_s = self.under_load((("write", 1.0),))
        self.assertLessEqual(sum(op.seconds > DEADLINE_S / 2 + noise_s for op in during), 2 * 16)
        self.assertGreater(sum(op.seconds >= DEADLINE_S * 0.8 for op in during), 0,
                           "nothing ever waited: was the leg frozen at all?")

    def test_flushes_go_on(self):
        """Proves the same for flushes.  One request in five is a flush."""
        self.under_load((("write", 0.8), ("flush", 0.2)))

    def test_reads_and_writes_go_on(self):
        """Proves the same for reads among writes.  Half of each."""
        self.under_load((("write", 0.5), ("read", 0.5)))

    def test_a_read_goes_to_another_leg(self):
        """Proves that another leg answers a read when its leg hangs.
        The leg that freezes is by far the fastest reader, so reads are there when it freezes."""
        legs = [self.fuse_leg("a")]
        legs += [self.fuse_leg(name, filters=["delay"], parameters=["rdelay=15ms"])
                 for name in "bc"]
        volume, server = self.served(legs, **DEADLINES)
        with self.load(server, mix=(("write", 1.0),), blocks=1024) as writer:
            writer.run_for(1)
        with self.load(server, mix=(("read", 1.0),), model=writer.model) as reader:
            reader.run_for(1)
            frozen = time.monotonic()
            legs[0].freeze()
            reader.run_for(2)
            reader.wait_until(lambda: len(reader.since(frozen + 1)) > 50)
        self.assert_longest(reader, DEADLINE_S)
        self.assertGreater(volume.leg("a")["timeouts"], 0, "no read was on the leg that froze")
        self.assertEqual([], reader.errors)
        self.assertEqual([], reader.wrong)
        legs[0].thaw()
        self.stop_and_compare(volume, server)

    def test_a_deadline_that_follows_the_legs(self):
        """Proves that a volume whose file says nothing of deadlines learns them, says so, and holds a frozen leg
        to what it has learned: by then less than what it began with."""
        legs = self.two_and_one()
        automatic = {kind + "_deadline": "auto" for kind in ("read", "write", "flush")}
        volume, server = self.served(legs, **automatic)
        begin = volume.leg("c")
        self.assertEqual({"read_us": 625000, "write_us": 625000, "flush_us": 2500000}, begin["deadline"])
        self.assertEqual({"learning"}, set(begin["deadline_source"].values()))
        with self.load(server) as load:
            load.run_for(1)
            while volume.leg("c")["deadline_source"]["write"] != "auto":
                load.run_for(1)
            load.run_for(5)
            known = volume.leg("c")
            self.assertLess(known["deadline"]["write_us"], 625000)
            self.assertGreaterEqual(known["deadline"]["write_us"], 62500)
            frozen = time.monotonic()
            legs[2].freeze()
            load.run_for(2)
            load.wait_until(lambda: len(load.since(frozen)) > 64)
            # It may have fallen once more before the leg froze.
            self.assertLessEqual(volume.leg("c")["deadline"]["write_us"], known["deadline"]["write_us"])
            legs[2].thaw()
            volume.wait_all_in_sync()
        self.assert_longest(load, known["deadline"]["write_us"] / 1e6)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_is_slow_for_long(self):
        """Proves that a leg which answers in time, and alone makes clients wait many times longer, is told of after
        half a minute, and leaves with slow_leg = leave until the operator takes it back."""
        legs = [*self.rig.file_legs("ab"), self.fuse_leg("c", filters=["delay"], parameters=["wdelay=60ms"])]
        volume, server = self.served(legs, write_deadline="2s", flush_deadline="2s")
        with self.load(server, depth=4) as load:
            while not volume.leg("c")["reason"]:
                load.run_for(1)
            self.assertRegex(volume.leg("c")["reason"], r"^holds clients back \d+\.\d x$")
            self.assertEqual("in-sync", volume.leg("c")["state"])
            self.assertRegex(server.log(), r"leg c: holds clients back \d+\.\d x")
            self.rig.ctl("--control", volume.control, "set", "vol0", "slow_leg=leave")
            while volume.leg("c")["state"] == "in-sync":
                load.run_for(1)
            load.run_for(12)
            self.assertEqual("probing", volume.leg("c")["state"])
            self.assertRegex(volume.leg("c")["reason"], r"^holds clients back .*; kept out until ")
        self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "c")
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_a_leg_may_have_less_patience_than_the_volume(self):
        """Proves that a leg's own timeout counts.  The volume's deadline is a second, leg c's is
        100 ms: no write may take longer than that."""
        legs = self.two_and_one()
        volume, server = self.served(legs, write_deadline="1s",
                                     leg_settings={"c": {"write_timeout": "100ms"}})
        with self.load(server) as load:
            load.run_for(0.5)
            legs[2].freeze()
            load.run_for(2)
            legs[2].thaw()
        self.assert_longest(load, 0.1)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_again_and_again(self):
        """Proves that a leg may stumble often: every time it comes back by itself.
        Five short freezes under one load, waiting for it to be in sync between them."""
        legs = self.two_and_one()
        volume, server = self.served(legs, **DEADLINES)
        mix = (("write", 0.7), ("read", 0.25), ("flush", 0.05))
        with self.load(server, mix=mix, depth=8) as load:
            for _ in range(5):
                load.run_for(0.3)
                legs[2].freeze()
                volume.wait_leg("c", "late")
                legs[2].thaw()
                volume.wait_all_in_sync()
        self.assert_longest(load, DEADLINE_S)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_memory_is_bounded(self):
        """Proves that a hanging leg cannot grow the process.  Large writes for three seconds of it;
        the peak may not rise by more than the buffers of the requests in flight."""
        legs = self.two_and_one()
        volume, server = self.served(legs, **DEADLINES)
        handle = server.connect()

        def write_for(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for offset in range(0, 32 * MIB, 4 * MIB):
                    handle.pwrite(b"\x5a" * (4 * MIB), offset)

        write_for(1)
        before = server.memory_peak_bytes()
        legs[2].freeze()
        write_for(3)
        grown = server.memory_peak_bytes() - before
        legs[2].thaw()
        self.assertLess(grown, 64 * MIB)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
