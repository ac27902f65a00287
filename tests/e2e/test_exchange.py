"""Proves the exchange: a leg that cannot be spared hangs for ever while another one comes back, and
that one takes its place.
Freezes one of three legs with min_legs 2 until it has left, then another one, and thaws the first."""

from case import VolumeTest, main

# 5 s of silence, the probes before and the copy; on a busy machine.
TAKEN_S = 60


class Exchange(VolumeTest):
    def states(self, status):
        return {leg["name"]: leg["state"] for leg in status["legs"]}

    def has_left_for_good(self, status):
        """The record that says so is on the other two: it would wait for one that freezes now."""
        return self.states(status)["c"] == "late" and status["record"]["change"] > 1

    def test_its_place_is_taken(self):
        """Proves that a suspended volume goes on without a word of the frozen leg, that nothing that was
        acknowledged is lost, and that the leg is copied to when it is back.  Under load."""
        legs = [self.rig.file_legs("a")[0], self.fuse_leg("b"), self.fuse_leg("c")]
        volume, server = self.served(legs, min_legs=2, on_too_few="suspend", write_deadline="100ms",
                                     read_deadline="100ms", flush_deadline="200ms")
        with self.load(server, depth=8) as load:
            load.run_for(0.5)
            legs[2].freeze()
            volume.wait_for(self.has_left_for_good, "c has left")
            load.run_for(0.5)
            legs[1].freeze()
            volume.wait_for(lambda status: status["state"] == "suspended", "suspended")
            self.assertEqual("in-sync", self.states(volume.status())["b"])
            legs[2].thaw()
            volume.wait_for(lambda status: self.states(status)["c"] == "in-sync", "c is in its place",
                            TAKEN_S)
            self.assertEqual("late", self.states(volume.status())["b"])
            volume.wait_for(lambda status: status["state"] == "degraded", "what waited goes on")
            load.wait_count(100)
            self.assertRegex(self.rig.ctl("--control", volume.control, "events"),
                             "in the place of leg b, which did not answer for [0-9]+ s")
            legs[1].thaw()
            volume.wait_all_in_sync()
            load.run_for(0.3)
        self.assert_load_well(load, server)
        self.stop_and_compare(volume, server)

    def test_what_goes_on_is_what_starts(self):
        """Proves that the two legs that went on start without the third, with all that they were given, and
        that it starts with neither of them alone.  The server is killed after the exchange."""
        legs = [self.rig.file_legs("a")[0], self.fuse_leg("b"), self.fuse_leg("c")]
        volume, server = self.served(legs, min_legs=2, on_too_few="suspend", write_deadline="100ms",
                                     read_deadline="100ms", flush_deadline="200ms")
        handle = server.connect()
        handle.pwrite(b"\x11" * 65536, 0)
        legs[2].freeze()
        handle.pwrite(b"\x22" * 65536, 0)
        volume.wait_for(self.has_left_for_good, "c has left")
        legs[1].freeze()
        cookie = handle.aio_pwrite(b"\x33" * 65536, 0)
        legs[2].thaw()
        volume.wait_for(lambda status: self.states(status)["c"] == "in-sync", "c is in its place",
                        TAKEN_S)
        while not handle.aio_command_completed(cookie):
            handle.poll(1000)
        handle.pwrite(b"\x44" * 65536, 65536)
        server.kill()
        legs[1].thaw()
        legs[1].vanish()
        server = volume.serve()
        handle = server.connect()
        self.assertEqual(b"\x33" * 65536 + b"\x44" * 65536, bytes(handle.pread(131072, 0)))


if __name__ == "__main__":
    main()
