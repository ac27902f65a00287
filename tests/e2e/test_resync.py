"""Proves what an absence costs: about what was written meanwhile, not the size of the volume, and not
again what was copied before a restart.
A load stays within 64 MiB of a volume of 4 GiB; what is copied is read from the status."""

from case import VolumeTest, main
from rig import DATA_OFFSET, MIB, FileLeg, sha_of_data

SIZE = 4096 * MIB
TOUCHED = 64 * MIB
BLOCKS = TOUCHED // 4096
WRITES = (("write", 0.9), ("flush", 0.1))
# A read of a frozen leg fails over soon; a busy machine is no reason to take another one out.
SETTINGS = {"size": SIZE, "write_deadline": "300ms", "read_deadline": "300ms",
            "flush_deadline": "600ms", "wait_for_legs": "20s"}


class SparseLeg(FileLeg):
    """Not allocated: four gigabytes of zeros three times over are no part of this test."""

    def prepare(self, size):
        with open(self.path, "wb") as f:
            f.truncate(DATA_OFFSET + size)


class Resync(VolumeTest):
    def sparse(self, frozen=True, **settings):
        legs = [SparseLeg(self.rig, "a"), SparseLeg(self.rig, "b")]
        legs.append(self.fuse_leg("c") if frozen else SparseLeg(self.rig, "c"))
        volume = self.rig.volume(legs, **{**SETTINGS, **settings})
        for leg in legs:
            leg.prepare(SIZE)
        self.rig.ctl("create", "--assume-clean", volume.conf)
        server = volume.serve()
        volume.wait_all_in_sync()
        return volume, server

    def write_everywhere(self, server, model=None, seconds=2.0):
        """All 64 extents are touched: each has 256 of the blocks."""
        load = self.load(server, mix=WRITES, blocks=BLOCKS, model=model, depth=16)
        with load:
            load.run_for(seconds)
            load.wait_count(2000)
        self.assertEqual([], load.errors)
        return load.model

    def copied(self, volume):
        return volume.leg("c")["resync_bytes"]

    def assert_copied(self, volume, most, before=0):
        copied = before + self.copied(volume)
        print(f"{copied / MIB:.1f} MiB copied, {TOUCHED / MIB:.0f} MiB were touched: "
              f"{copied / TOUCHED:.2f}", flush=True)
        self.assertGreaterEqual(copied, TOUCHED // 2, "that cannot be all")
        self.assertLessEqual(copied, most)

    def finish(self, volume, server, model):
        self.assertEqual([], model.verify(server.connect()))
        volume.wait_all_in_sync()
        server.stop()
        # What was never written is zeros; a hash of gigabytes of them would prove little.
        self.assertEqual(1, len({sha_of_data(leg.image, TOUCHED) for leg in volume.legs}))

    def test_after_a_freeze(self):
        """Proves it for a leg that freezes ten seconds under load: at most twice the extents written."""
        volume, server = self.sparse()
        load = self.load(server, mix=WRITES, blocks=BLOCKS)
        with load:
            load.run_for(1)
            volume.legs[2].freeze()
            volume.wait_leg("c", "late")
            load.run_for(10)
            volume.legs[2].thaw()
            volume.wait_all_in_sync(60)
        self.assertEqual([], load.errors)
        self.assert_copied(volume, 2 * TOUCHED)
        self.finish(volume, server, load.model)

    def restarted(self, end):
        """Frozen, written, thawed; ended in the middle of the resync, started again."""
        volume, server = self.sparse(resync_max_rate="16M", resync_min_rate="16M", intent_delay="100ms")
        volume.legs[2].freeze()
        model = self.write_everywhere(server)
        volume.legs[2].thaw()
        volume.wait_for(lambda status: volume.leg("c", status)["resync_bytes"] >= TOUCHED // 2,
                        "half of it")
        # No more than what an absence can need when it is known to the extent.
        left = volume.leg("c")["stale_bytes"]
        before = self.copied(volume)
        end(server)
        server = volume.serve()
        volume.wait_all_in_sync(60)
        return volume, server, model, before, left

    def test_goes_on_after_a_clean_stop(self):
        """Proves that a resync goes on where it was when the volume is stopped and started."""
        volume, server, model, before, left = self.restarted(lambda server: server.stop())
        self.assertLessEqual(self.copied(volume), left + 4 * MIB, "it started over")
        self.assert_copied(volume, TOUCHED + 8 * MIB, before)
        self.finish(volume, server, model)

    def test_goes_on_after_a_kill(self):
        """Proves the same of a server that was killed: what was copied and flushed is not copied again."""
        volume, server, model, before, _ = self.restarted(lambda server: server.kill())
        self.assert_copied(volume, 2 * TOUCHED, before)
        self.assertLess(self.copied(volume), TOUCHED - 8 * MIB, "it started over")
        self.finish(volume, server, model)

    def test_after_an_absence(self):
        """Proves that a leg which was away over a clean stop and start is copied what was written, and
        that its absence is remembered over a second stop and start."""
        volume, server = self.sparse(frozen=False)
        server.stop()
        away = volume.legs[2].path.with_suffix(".away")
        volume.legs[2].path.rename(away)
        server = volume.serve()
        model = self.write_everywhere(server)
        server.stop()
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        server.stop()
        away.rename(volume.legs[2].path)
        server = volume.serve()
        volume.wait_all_in_sync(60)
        self.assert_copied(volume, TOUCHED)
        self.finish(volume, server, model)


if __name__ == "__main__":
    main()
