"""A volume grows while it is used: its clients, a late leg, a kill in the middle, and what does not fit."""

import os
import subprocess
import time

from case import VolumeTest, main
from rig import DATA_OFFSET, MIB, CommandFailed, FuseLeg


class Grow(VolumeTest):
    def grow(self, volume, size=None):
        words = [] if size is None else [str(size)]
        return self.rig.ctl("--control", volume.control, "grow", volume.name, *words, seconds=60)

    def grown(self, volume, size):
        self.assertEqual(size, volume.status()["size_bytes"])
        volume.size = size

    def test_under_load(self):
        volume, server = self.served(size=16 * MIB)
        load = self.load(server)
        load.start()
        self.assertIn("has grown to 40 MiB", self.grow(volume, "40M"))
        self.grown(volume, 40 * MIB)
        client = server.connect()
        self.assertEqual(40 * MIB, client.get_size())
        data = os.urandom(MIB)
        client.pwrite(data, 39 * MIB)
        self.assertEqual(bytes(MIB), bytes(client.pread(MIB, 30 * MIB)))
        load.stop()
        self.assert_load_well(load, server)
        volume.wait_all_in_sync()
        self.stop_and_compare(volume, server)
        server = volume.serve()
        client = server.connect()
        self.assertEqual(40 * MIB, client.get_size())
        self.assertEqual(data, bytes(client.pread(MIB, 39 * MIB)))

    def test_what_was_there_reads_alike(self):
        """Legs that hold other bytes behind the volume than the other legs do."""
        volume, server = self.served(size=8 * MIB)
        for leg in volume.legs:
            with open(leg.path, "r+b") as f:
                f.seek(DATA_OFFSET + 8 * MIB)
                f.write(os.urandom(9 * MIB + 5000))
        self.assertIn("has grown", self.grow(volume))
        size = volume.status()["size_bytes"]
        self.assertEqual(17 * MIB + 4096, size)
        client = server.connect()
        before = bytes(client.pread(9 * MIB, 8 * MIB))
        self.grown(volume, size)
        self.stop_and_compare(volume, server)
        server = volume.serve()
        self.assertEqual(before, bytes(server.connect().pread(9 * MIB, 8 * MIB)))

    def test_across_a_page_of_the_maps(self):
        """1792 extents are a page: the second one is new."""
        volume, server = self.served(self.rig.file_legs("ab"), size=1790 * MIB)
        self.grow(volume, "1800M")
        client = server.connect()
        client.pwrite(b"x" * 4096, 1799 * MIB)
        client.pwrite(b"y" * 4096, 1789 * MIB)
        server.kill()
        server = volume.serve()
        client = server.connect()
        self.assertEqual(b"x" * 4096, bytes(client.pread(4096, 1799 * MIB)))
        self.assertEqual(b"y" * 4096, bytes(client.pread(4096, 1789 * MIB)))
        self.grown(volume, 1800 * MIB)
        self.stop_and_compare(volume, server)

    def test_refusals(self):
        volume, server = self.served(size=16 * MIB)
        for size, why in (("16M", "can only be made larger"), ("8M", "can only be made larger"),
                          ("20000001", "multiple of 4 KiB"), ("4T", "2^21 extents"),
                          (None, "no more than the volume has")):
            with self.assertRaises(CommandFailed) as failed:
                self.grow(volume, size)
            self.assertIn(why, failed.exception.output)
            self.assertEqual(16 * MIB, volume.status()["size_bytes"])
        for size in ("0", "many", "-4096"):
            with self.assertRaises(CommandFailed) as failed:
                self.grow(volume, size)
            self.assertEqual(2, failed.exception.code)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_was_away(self):
        """It comes back short, is made longer, and is copied what it missed."""
        volume, server = self.served(size=16 * MIB)
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, "c")
        volume.wait_leg("c", "faulty")
        self.grow(volume, "32M")
        data = os.urandom(MIB)
        server.connect().pwrite(data, 31 * MIB)
        self.rig.ctl("--control", volume.control, "leg", "return", volume.name, "c")
        volume.wait_all_in_sync()
        self.grown(volume, 32 * MIB)
        self.stop_and_compare(volume, server)

    def test_a_leg_that_was_away_over_a_start(self):
        volume, server = self.served(size=16 * MIB)
        away = volume.legs[2]
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, "c")
        self.grow(volume, "32M")
        server.stop()
        self.assertLess(os.path.getsize(away.path), DATA_OFFSET + 32 * MIB)
        server = volume.serve()
        volume.wait_leg("c", "in-sync", "faulty", "catching-up", "probing")
        if volume.leg("c")["state"] == "faulty":
            self.rig.ctl("--control", volume.control, "leg", "return", volume.name, "c")
        volume.wait_all_in_sync()
        self.grown(volume, 32 * MIB)
        self.stop_and_compare(volume, server)

    def test_a_leg_hangs_meanwhile(self):
        legs = self.two_and_one()
        hanging = legs[2]
        hanging.prepare = lambda size: FuseLeg.prepare(hanging, 24 * MIB)
        volume, server = self.served(legs, size=16 * MIB)
        hanging.freeze()
        server.connect().pwrite(b"z" * 4096, 0)
        volume.wait_leg("c", "late")
        self.grow(volume, "24M")
        self.assertEqual(24 * MIB, volume.status()["size_bytes"])
        hanging.thaw()
        data = os.urandom(MIB)
        server.connect().pwrite(data, 23 * MIB)
        volume.wait_all_in_sync()
        self.grown(volume, 24 * MIB)
        self.stop_and_compare(volume, server)

    def test_killed_in_the_middle(self):
        """Again and again, at any moment: the old size or the new one, and the legs are equal."""
        volume, server = self.served(size=8 * MIB)
        size, seen = 8 * MIB, set()
        for turn in range(12):
            target = size + 3 * MIB + 4096
            pattern = bytes([turn + 1]) * 4096
            server.connect().pwrite(pattern, size - 4096)
            command = subprocess.Popen(
                [str(self.rig.surefootctl), "--control", str(volume.control), "grow",
                 volume.name, str(target)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(turn * 0.002)
            server.kill()
            done = command.wait(30) == 0
            server = volume.serve()
            volume.wait_all_in_sync()
            now = volume.status()["size_bytes"]
            self.assertIn(now, (size, target))
            self.assertFalse(done and now == size, "it was told that it is done")
            seen.add(now == target)
            self.assertEqual(pattern, bytes(server.connect().pread(4096, size - 4096)))
            size = now
        print(f"old size, new size: {sorted(seen)}")
        self.grown(volume, size)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
