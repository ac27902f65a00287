"""Proves that a killed process loses nothing that was acknowledged, and that the legs are one again
after the next start.
SIGKILLs nbdkit under load, starts it again, reads back everything, compares the legs."""

import time

from case import OVER_S, VolumeTest, main

MIX = (("write", 0.7), ("read", 0.2), ("flush", 0.1))
# The kernel lets go of a killed process's files only when their last request has ended (R7).
PATIENT = {"wait_for_legs": "20s"}


class Crash(VolumeTest):
    def test_killed_under_load(self):
        """Proves it for healthy legs, three times in a row on one volume.  After each kill, and
        while the legs converge, every block holds what was acknowledged or tried last; and what a
        block is read as then, it stays (R11)."""
        volume, server = self.served(**PATIENT)
        model = None
        for _ in range(3):
            load = self.load(server, mix=MIX, model=model)
            with load:
                load.run_for(0.7)
                server.kill()
            model = load.model
            self.assertEqual([], load.errors)
            server = volume.serve()
            handle = server.connect()
            self.assertEqual([], model.verify(handle))
            seen = [bytes(handle.pread(1 << 20, offset))
                    for offset in range(0, volume.size, 1 << 20)]
            volume.wait_all_in_sync()
            for i, megabyte in enumerate(seen):
                self.assertEqual(megabyte, bytes(handle.pread(1 << 20, i << 20)))
        self.stop_and_compare(volume, server)

    def test_killed_with_a_leg_behind(self):
        """Proves that a leg that was behind when the process died is not believed afterwards.
        Kills the server while a leg hangs, thaws the leg, starts: nothing acknowledged is lost."""
        legs = self.two_and_one()
        volume, server = self.served(legs, write_deadline="100ms", flush_deadline="200ms",
                                     read_deadline="100ms", **PATIENT)
        with self.load(server, mix=MIX) as load:
            load.run_for(0.5)
            legs[2].freeze()
            volume.wait_leg("c", "late")
            load.run_for(0.5)
            server.process.kill()
            legs[2].thaw()
            server.process.wait()
        self.assertEqual([], load.errors)
        server = volume.serve()
        self.assertEqual([], load.model.verify(server.connect()))
        volume.wait_all_in_sync()
        self.assertEqual([], load.model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_reads_do_not_wait_for_the_rate(self):
        """Proves that a read which comes before its extent is converged has that done at once, however
        slowly the rest is made equal.  Kills under load, starts with a rate that would take minutes,
        and reads all over the volume."""
        volume, server = self.served(fail_timeout="2s", **PATIENT)
        with self.load(server, mix=MIX) as load:
            load.run_for(1)
            server.kill()
        volume.settings.update(resync_max_rate="64K", resync_min_rate="4K")
        volume.write_conf()
        server = volume.serve()
        handle = server.connect()
        for megabyte in (31, 0, 16, 7, 24, 3):
            begun = time.monotonic()
            handle.pread(4096, megabyte << 20)
            self.assertLess(time.monotonic() - begun, 0.5 + OVER_S)
        self.assertGreater(volume.status()["unconverged_bytes"], 10 << 20)
        self.assertEqual([], load.model.verify(handle))
        self.assertEqual(0, volume.status()["requests"]["errors"])
        server.kill()

    def test_killed_and_started_while_a_leg_hangs(self):
        """Proves that a leg which hangs on to requests of the killed process is left alone (R7) and
        holds nothing up: the volume serves from the others, and takes it in once it has let go."""
        legs = self.two_and_one()
        volume, server = self.served(legs, wait_for_legs="2s", write_deadline="100ms",
                                     flush_deadline="200ms", read_deadline="100ms")
        # No flush: one that hangs in the kernel keeps the killed process there until it returns.
        with self.load(server, mix=(("write", 0.5), ("read", 0.5))) as load:
            load.run_for(0.5)
            legs[2].freeze()
            volume.wait_leg("c", "late")
            server.kill()
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        with self.load(server, mix=MIX, model=load.model) as second:
            second.run_for(1)
            legs[2].thaw()
            volume.wait_all_in_sync()
        self.assert_load_well(second, server)
        self.stop_and_compare(volume, server)

    def test_killed_while_catching_up(self):
        """Proves the same in the middle of a resync: half a copy is no copy.
        Kills the server as soon as the leg is catching up, and starts again."""
        legs = self.two_and_one()
        volume, server = self.served(legs, size=64 * 1024 * 1024, write_deadline="100ms",
                                     flush_deadline="200ms", read_deadline="100ms",
                                     resync_max_rate="8M", **PATIENT)
        with self.load(server, mix=MIX) as load:
            legs[2].freeze()
            volume.wait_leg("c", "late")
            load.run_for(1)
            legs[2].thaw()
            volume.wait_leg("c", "catching-up")
            server.kill()
        server = volume.serve()
        self.assertEqual([], load.model.verify(server.connect()))
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
