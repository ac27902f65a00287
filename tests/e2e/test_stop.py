"""Proves that a volume can be stopped whatever a leg does: SIGTERM ends the process within a bound, the
other legs are clean, or name their holder on where the one that hangs has writes (R12), and that one is left alone until
it has let go.
Freezes a leg in the middle of a write, a flush or a read, stops, checks offline, starts again."""

import contextlib
import json
import time
from pathlib import Path

from case import VolumeTest, main
from rig import SLOWNESS, FileLeg

DEADLINE_S = 0.2
DEADLINES = {kind + "_deadline": "200ms" for kind in ("read", "write", "flush")}
# What README promises: the flush deadline, twice the write deadline, and two seconds.
BOUND_S = DEADLINE_S + 2 * DEADLINE_S + 2 * SLOWNESS


class Stop(VolumeTest):
    def hang_in(self, mix, hung, legs=None):
        """A served volume on whose leg c a request of the kind hangs."""
        legs = legs or self.two_and_one()
        volume, server = self.served(legs, wait_for_legs="2s", **DEADLINES)
        with self.load(server, mix=mix) as load:
            load.run_for(0.3)
            legs[2].freeze()
            volume.wait_leg("c", "late")
            load.run_for(0.3)
        self.assertEqual([], load.errors)
        self.assertRegex(server.log(), f"leg c: .*late.*{hung}")
        return volume, server, load.model

    def stop_in_time(self, server):
        server.disconnect()
        start = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - start, BOUND_S)

    def assert_recorded(self, volume, clean=True):
        """Offline, legs a and b are clean or not, and know that c is behind.  What hangs is not asked: c is
        away meanwhile."""
        conf = self.rig.folder / "offline.conf"
        conf.write_text(volume.conf.read_text().replace(str(volume.legs[2].path),
                                                        f"{self.rig.folder}/away"))
        document = json.loads(self.rig.ctl("check", "--json", conf))
        legs = {leg["name"]: leg for leg in document["legs"]}
        for name in "ab":
            self.assertEqual(("in-sync", clean),
                             (legs[name]["recorded_as"], legs[name]["record"]["clean"]))
        self.assertEqual("behind", legs["c"]["recorded_as"])

    def stop_and_return(self, mix, hung, legs=None):
        volume, server, model = self.hang_in(mix, hung, legs)
        self.stop_in_time(server)
        holds_writes = "not clean: a leg still holds writes of ours" in server.log()
        if "write" in hung or "flush" in hung:
            self.assertEqual("write" in hung, holds_writes)
        self.assert_recorded(volume, clean=not holds_writes)
        server = volume.serve()
        self.assertEqual(0, volume.status()["unconverged_bytes"])
        self.assertEqual("missing", volume.leg("c")["state"], "a leg that hangs was taken (R7)")
        self.assertEqual([], model.verify(server.connect()))
        volume.legs[2].thaw()
        volume.wait_all_in_sync()
        self.assertEqual([], model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_hung_write(self):
        """Proves it for a write that hangs."""
        self.stop_and_return((("write", 1.0),), "write")

    def test_hung_flush(self):
        """Proves it for a flush that hangs: nothing can cancel that one in the kernel."""
        self.stop_and_return((("flush", 1.0),), "flush")

    def test_hung_flush_of_a_block_device(self):
        """Proves it for a block device: its flush waits in the kernel in a state that no signal
        ends."""
        legs = [FileLeg(self.rig, "a"), FileLeg(self.rig, "b"), self.loop_leg("c")]
        self.stop_and_return((("write", 0.5), ("flush", 0.5)), "", legs)

    def test_hung_read(self):
        """Proves it for a read that hangs.  The leg that does is the fastest reader."""
        legs = [self.fuse_leg(name, filters=["delay"], parameters=["rdelay=15ms"])
                for name in "ab"] + [self.fuse_leg("c")]
        volume, server = self.served(legs, wait_for_legs="2s", **DEADLINES)
        with self.load(server, mix=(("write", 1.0),), blocks=256) as writer:
            writer.run_for(0.3)
        with self.load(server, mix=(("read", 1.0),), model=writer.model) as reader:
            reader.run_for(0.3)
            legs[2].freeze()
            volume.wait_leg("c", "late")
        self.assertEqual([], reader.errors)
        self.stop_in_time(server)
        legs[2].thaw()
        server = volume.serve()
        self.assertEqual([], writer.model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_hung_at_the_stop(self):
        """Proves it for a leg whose hanging is found out by the stop itself.  It freezes while
        nothing happens; the stop flushes."""
        legs = self.two_and_one()
        volume, server = self.served(legs, wait_for_legs="2s", **DEADLINES)
        server.connect().pwrite(b"\x11" * 4096, 4096)
        legs[2].freeze()
        self.stop_in_time(server)
        self.assert_recorded(volume)
        legs[2].thaw()
        server = volume.serve()
        self.assertEqual(b"\x11" * 4096, bytes(server.connect().pread(4096, 4096)))
        self.stop_and_compare(volume, server)

    def test_hung_while_it_is_opened(self):
        """Proves it for a leg that hangs before it is open: neither the server nor `surefootctl
        check` is kept by it.  It freezes while the volume is stopped; the volume starts without it,
        is asked about offline, stops, starts again, and takes it in when it thaws."""
        legs = self.two_and_one()
        volume, server = self.served(legs, wait_for_legs="2s", **DEADLINES)
        server.stop()
        legs[2].freeze()
        for _ in range(2):
            server = volume.serve()
            self.assertEqual("missing", volume.leg("c")["state"])
            self.stop_in_time(server)
        document = json.loads(self.rig.ctl("check", "--json", volume.conf))
        self.assertTrue(document["may_start"])
        self.assertRegex(document["legs"][2]["error"], "did not answer")
        server = volume.serve()
        legs[2].thaw()
        self.stop_and_compare(volume, server)

    def hang_emptied(self, action):
        """A volume that is to make leg c an empty member, which hangs at that."""
        legs = self.two_and_one()
        volume, server = self.served(legs, wait_for_legs="2s", **DEADLINES)
        server.connect().pwrite(b"\x11" * 4096, 4096)
        self.rig.ctl("--control", volume.control, "leg", "fail", "vol0", "c")
        volume.wait_leg("c", "faulty")
        legs[2].freeze()
        self.command = self.rig.spawn([self.rig.surefootctl, "--control", volume.control, "leg",
                                       action, "vol0", "c"])
        self.rig.wait_until(lambda: self.an_opener_is_at(legs[2]), "an opener that hangs",
                            process=server.process)
        return volume, server

    @staticmethod
    def an_opener_is_at(leg):
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may end while we look
                if (process / "comm").read_text() == "sf-opener\n" and any(
                        link.readlink() == leg.path for link in (process / "fd").iterdir()):
                    return True
        return False

    def serve_again(self, volume, state):
        server = volume.serve()
        self.assertEqual(state, volume.leg("c")["state"])
        volume.legs[2].thaw()
        if state == "faulty":
            self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "c")
        self.assertEqual(b"\x11" * 4096, bytes(server.connect().pread(4096, 4096)))
        self.stop_and_compare(volume, server)

    def test_hung_while_it_is_discarded(self):
        """Proves it for a leg that hangs while what it holds is given up."""
        volume, server = self.hang_emptied("discard")
        self.stop_in_time(server)
        self.serve_again(volume, "missing")

    def test_killed_while_a_disk_is_looked_at(self):
        """Proves that a killed process is gone at once though it looks at a disk that hangs, before
        that takes the leg's place: the leg stays as the operator left it."""
        volume, server = self.hang_emptied("replace")
        start = time.monotonic()
        server.kill()
        self.assertLess(time.monotonic() - start, 2 * SLOWNESS)
        self.serve_again(volume, "faulty")

    def test_killed_in_a_flush(self):
        """Proves that a killed process is gone at once though a flush hangs, with the locks on the
        legs that are well: they serve again, and the one that hangs is not taken (R7)."""
        volume, server, model = self.hang_in((("write", 0.5), ("flush", 0.5)), "")
        start = time.monotonic()
        server.kill()
        self.assertLess(time.monotonic() - start, 2 * SLOWNESS)
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        self.assertEqual([], model.verify(server.connect()))
        volume.legs[2].thaw()
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
