"""Proves what trims and zeroes cost: nothing where a leg cannot give space back, no leg that falls out for
them, and no space on a leg that was away meanwhile."""

import os
import time

import nbd

from case import VolumeTest, main
from rig import MIB, FileLeg

SIZE = 256 * MIB


def allocated(leg):
    return os.stat(leg.image).st_blocks * 512


class Trim(VolumeTest):
    def at_once(self, server, kind, length=16 * MIB):
        """The whole volume, all of it asked for at the same time; the errors."""
        handle = server.connect()
        waiting = [getattr(handle, f"aio_{kind}")(length, offset)
                   for offset in range(0, SIZE, length)]
        errors = []
        while waiting:
            handle.poll(-1)
            for cookie in list(waiting):
                try:
                    if handle.aio_command_completed(cookie):
                        waiting.remove(cookie)
                except nbd.Error as error:
                    errors.append(error.errno)
                    waiting.remove(cookie)
        return errors

    def sparse(self, legs):
        volume = self.rig.volume(legs, size=SIZE)
        for leg in legs:
            if isinstance(leg, FileLeg):
                with open(leg.path, "wb") as f:
                    f.truncate(8 * MIB + SIZE)
            else:
                leg.prepare(SIZE)
        self.rig.ctl("create", "--assume-clean", volume.conf)
        server = volume.serve()
        volume.wait_all_in_sync()
        return volume, server

    def test_a_leg_that_cannot(self):
        """Proves that a trim takes no time and no space, and changes no byte, where one leg cannot
        punch.  One leg is a file, the other FUSE at 40 MB/s: 256 MiB of zeros would take 6 s."""
        legs = [FileLeg(self.rig, "a"), self.fuse_leg("b")]
        legs[1].limit_rate(320_000_000)
        volume, server = self.sparse(legs)
        server.connect().pwrite(b"\x5a" * 65536, MIB)
        before = allocated(legs[1])
        began = time.monotonic()
        self.assertEqual([], self.at_once(server, "trim"))
        self.assertLess(time.monotonic() - began, 3)
        self.assertLess(allocated(legs[1]), before + MIB)
        self.assertEqual(b"\x5a" * 65536, bytes(server.connect().pread(65536, MIB)))
        self.assertEqual(0, volume.leg("b")["timeouts"])
        self.stop_and_compare(volume, server)

    def test_zeroes_that_are_written(self):
        """Proves that zeroes that must be written take no leg out, however many are asked for at
        once.  256 MiB, in 16 requests, to legs of 40 MB/s."""
        legs = [self.fuse_leg("a"), self.fuse_leg("b")]
        for leg in legs:
            leg.limit_rate(320_000_000)
        volume, server = self.sparse(legs)
        server.connect().pwrite(b"\x5a" * 65536, MIB)
        self.assertEqual([], self.at_once(server, "zero"))
        self.assertEqual([0, 0], [volume.leg(name)["timeouts"] for name in "ab"])
        self.assertEqual(bytes(65536), bytes(server.connect().pread(65536, MIB)))
        self.stop_and_compare(volume, server)

    def test_a_leg_that_was_away(self):
        """Proves that a leg that missed trims does not come back full.  Fills all, takes b out, trims
        all, takes b back."""
        legs = [FileLeg(self.rig, "a"), FileLeg(self.rig, "b")]
        volume, server = self.sparse(legs)
        handle = server.connect()
        for offset in range(0, SIZE, 16 * MIB):
            handle.pwrite(b"\x5a" * (16 * MIB), offset)
        handle.flush()
        self.rig.ctl("--control", volume.control, "leg", "fail", "vol0", "b")
        self.assertEqual([], self.at_once(server, "trim"))
        handle.flush()
        if allocated(legs[0]) > SIZE // 2:
            self.skipTest("files here do not give space back")
        self.rig.ctl("--control", volume.control, "leg", "return", "vol0", "b")
        volume.wait_all_in_sync()
        self.assertLess(allocated(legs[1]), 32 * MIB)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
