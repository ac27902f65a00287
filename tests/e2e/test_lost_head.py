"""Proves that a leg whose superblocks are lost is told by its mark and counts as absent, and that the command that
is named makes it anew."""

import json
import os
import re

from case import main
from rig import DATA_OFFSET, MIB, CommandFailed, FileLeg
from test_disks import PATIENT, Disks

HEAD = 64 * 1024
MARK = DATA_OFFSET - 4096
PATTERN = b"\x55" * 4096


class LostHead(Disks):
    def write_at(self, leg, offset, data):
        with open(leg.image, "r+b") as f:
            f.seek(offset)
            f.write(data)
            os.fsync(f.fileno())

    def mark(self, leg):
        with open(leg.image, "rb") as f:
            f.seek(MARK)
            return f.read(4096)

    def refused(self, *words):
        with self.assertRaises(CommandFailed) as failed:
            self.rig.ctl(*words, seconds=60)
        return failed.exception.output

    def on_leg(self, volume, action, *words):
        return ("--control", volume.control, "leg", action, volume.name, *words)

    def told(self, volume, name, says):
        """What the status says of a leg that is missing."""
        volume.wait_for(lambda status: says in volume.leg(name, status)["reason"], f"the status: {says}")
        leg = volume.leg(name)
        self.assertEqual("missing", leg["state"])
        return leg["reason"]

    def started_without_b(self, volume):
        """It serves; the status says whose leg is missing, and what was lost."""
        server = volume.serve()
        reason = self.told(volume, "b", "its superblocks were overwritten; by its mark it is leg b of volume vol0")
        server.connect().pwrite(PATTERN, 0)
        return server, reason

    def command_in(self, reason):
        """The first one that is named, as its words."""
        return re.search(r"`surefootctl ([^`]*)`", reason).group(1).split()

    def made_anew(self, volume, server, reason):
        words = self.command_in(reason)
        self.assertEqual(["leg", "replace", "vol0", "b"], words)
        old = self.mark(volume.legs[1])
        self.rig.ctl("--control", volume.control, *words, seconds=60)
        volume.wait_all_in_sync()
        self.assertEqual(PATTERN, bytes(server.connect().pread(4096, 0)))
        server.stop()
        self.assertNotEqual(old, self.mark(volume.legs[1]))
        self.assertEqual(b"SUREMARK", self.mark(volume.legs[1])[:8])
        volume.assert_legs_equal()

    def overwritten_with(self, what):
        volume, server = self.served(size=8 * MIB)
        server.connect().pwrite(b"\xaa" * 4096, 0)
        server.stop()
        leg = volume.legs[1]
        self.write_at(leg, 0, what)
        check = self.check(volume)
        self.assertIn("by its mark it is leg b of volume vol0", check)
        self.assertIn("would start", check)
        self.assertIn("by its mark it is leg b", self.rig.ctl("scan", leg.path, volume.legs[0].path))
        self.assertIn("leg b of volume vol0", self.refused("dump", leg.path))
        other = self.rig.folder / "other.conf"
        other.write_text(f"[volume]\nname = other\n[leg x]\npath = {leg.path}\n")
        self.assertIn("by its mark it is leg b of volume vol0", self.refused("create", other))
        server, reason = self.started_without_b(volume)
        self.assertIn("it does not show that it is the disk",
                      self.refused(*self.on_leg(volume, "discard", "b")))
        with open(leg.image, "rb") as f:
            self.assertEqual(what, f.read(HEAD), "something was written to it")
        self.made_anew(volume, server, reason)

    def test_zeros(self):
        """Proves it for 64 KiB of zeros, which look like an empty disk."""
        self.overwritten_with(bytes(HEAD))

    def test_garbage(self):
        self.overwritten_with(os.urandom(HEAD))

    def test_scan_knows_the_volume(self):
        """Proves that a leg with its mark alone is found in its place, and makes the volume no more startable."""
        volume, server = self.served([FileLeg(self.rig, "a"), FileLeg(self.rig, "b")], size=8 * MIB)
        server.stop()
        self.write_at(volume.legs[1], 0, bytes(HEAD))
        paths = [leg.path for leg in volume.legs]
        (found,) = json.loads(self.rig.ctl("scan", "--json", *paths))
        self.assertFalse(found["would_start"])
        self.assertEqual([str(path) for path in paths], [leg["path"] for leg in found["legs"]])
        self.assertIn("keep an image", found["reason"])
        self.assertIn("by its mark it is leg b of volume vol0", self.refused("scan", paths[1]))

    def test_two_legs_wait(self):
        """Proves that the leg may have been the one that went on: without it the other does not start."""
        volume, server = self.served([FileLeg(self.rig, "a"), FileLeg(self.rig, "b")], size=8 * MIB,
                                     wait_for_legs="0s")
        server.stop()
        self.write_at(volume.legs[1], 0, bytes(HEAD))
        server = volume.launch()
        self.rig.wait_until(lambda: server.process.poll() is not None, "its end")
        self.assertNotEqual(0, server.process.returncode)
        self.assertIn("by its mark it is leg b of volume vol0", self.log())
        self.assertNotIn("`surefootctl create", self.log())

    def test_a_filesystem_is_no_leg(self):
        """Proves that a disk on which something else was made since is not emptied for the sake of its mark."""
        volume, server = self.served(size=8 * MIB)
        server.stop()
        leg = volume.legs[1]
        self.write_at(leg, 0, bytes(HEAD))
        self.write_at(leg, 1024 + 56, b"\x53\xef")  # ext2's magic
        self.write_at(leg, 1024 + 76, b"\x01")
        server, reason = self.started_without_b(volume)
        self.assertIn("carries data that are not of this volume: ext",
                      self.refused("--control", volume.control, *self.command_in(reason)))
        with open(leg.image, "rb") as f:
            f.seek(1080)
            self.assertEqual(b"\x53\xef", f.read(2))
        server.stop()

    def test_a_volume_from_before(self):
        """Proves that a volume without marks runs, and has them after its next start."""
        volume, server = self.served(size=8 * MIB)
        server.stop()
        for leg in volume.legs:
            self.write_at(leg, MARK, bytes(4096))
        server = volume.serve()
        volume.wait_all_in_sync()
        self.rig.wait_until(lambda: all(self.mark(leg)[:8] == b"SUREMARK" for leg in volume.legs), "the marks")
        self.stop_and_compare(volume, server)

    def test_cannot_be_read(self):
        """Proves that a leg of which the whole head cannot be read is absent, and told by its mark."""
        legs = [FileLeg(self.rig, "a"), self.bad_blocks_leg("b"), FileLeg(self.rig, "c")]
        volume = self.rig.volume(legs, **PATIENT).create()
        server = volume.serve()
        volume.wait_all_in_sync()
        server.stop()
        legs[1].break_at(0, HEAD)
        server = volume.serve()
        reason = self.told(volume, "b", "it is leg b of volume vol0 by its mark")
        self.assertIn("neither copy of its superblock can be read: Input/output error", reason)
        self.assertEqual(["leg", "replace", "vol0", "b", "PATH"], self.command_in(reason))
        self.assertFalse(legs[1].is_well(), "something was written to it")
        new = self.rig.folder / "new.img"
        self.rig.ctl(*self.on_leg(volume, "replace", "b", new), seconds=60)
        volume.wait_all_in_sync()
        server.stop()


if __name__ == "__main__":
    main()
