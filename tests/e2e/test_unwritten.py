"""Proves that a volume that was made in a moment on disks full of something else reads as zeros where
it was not written (R17).
Legs are files of a tmpfs, which surefootctl does not trust to punch, so that nothing is zeroed when the
volume is made; SIGKILLs nbdkit during first writes, and spoils a page of the maps between two starts."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from case import VolumeTest, main
from rig import DATA_OFFSET, MIB, Unavailable

MIX = (("write", 0.6), ("read", 0.3), ("flush", 0.1))
PATIENT = {"wait_for_legs": "20s"}
MAPS = 65536
SECOND = MAPS + 1016 * 4096


class FullLeg:
    """A file of a tmpfs that holds something already."""

    def __init__(self, folder, name):
        self.name = name
        self.path = self.image = Path(folder) / f"{name}.img"

    def prepare(self, size):
        with open(self.path, "wb") as file:
            for _ in range((DATA_OFFSET + size) // MIB):
                file.write(os.urandom(4096) * 256)


class Disk:
    """A loop device on a file that holds something already."""

    def __init__(self, rig, name, folder):
        self.name = name
        self.path = self.image = Path(folder) / f"{name}.img"
        self.rig = rig

    def prepare(self, size):
        FullLeg(self.image.parent, self.name).prepare(size)
        self.path = Path(self.rig.run("losetup", "-f", "--show", self.image).strip())
        self.rig.on_close(lambda: self.rig.run("losetup", "-d", self.path, check=False))

    def zeroes_cheaply(self):
        limit = f"/sys/block/{self.path.name}/queue/write_zeroes_max_bytes"
        return int(Path(limit).read_text()) > 0


class Unwritten(VolumeTest):
    def setUp(self):
        super().setUp()
        if not os.path.isdir("/dev/shm"):
            raise Unavailable("there is no tmpfs at /dev/shm")
        self.folder = tempfile.mkdtemp(dir="/dev/shm", prefix="sf-unwritten-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def full(self, size, **settings):
        legs = [FullLeg(self.folder, name) for name in "ab"]
        volume = self.rig.volume(legs, size=size, **settings)
        for leg in legs:
            leg.prepare(volume.size)
        volume.write_conf()
        return volume

    def made(self, **settings):
        volume = self.full(64 * MIB, **settings)
        out = self.rig.ctl("create", volume.conf, "--overwrite", "--lazy")
        self.assertIn("it reads as zeros", out)
        return volume

    def zeros(self, handle, size):
        for at in range(0, size, MIB):
            self.assertEqual(bytes(MIB), bytes(handle.pread(MIB, at)), f"at {at}")

    def test_reads_as_zeros(self):
        """Proves it before anything is zeroed and after all is, beside one written block."""
        volume = self.made(resync_max_rate="4K", resync_min_rate="4K")
        server = volume.serve()
        handle = server.connect()
        self.zeros(handle, volume.size)
        self.assertGreater(volume.status()["unwritten_bytes"], 32 * MIB)
        handle.pwrite(b"x" * 4096, 5 * MIB + 4096)
        self.assertEqual(bytes(4096) + b"x" * 4096 + bytes(MIB - 8192),
                         bytes(handle.pread(MIB, 5 * MIB)))
        out = self.rig.ctl("--control", volume.control, "status", "vol0")
        self.assertIn("initialising", out)
        server.stop()
        self.assertIn("equal", self.rig.ctl("check", "--compare", volume.conf))
        volume.settings.update(resync_max_rate="8M", resync_min_rate="8M")
        volume.write_conf()
        server = volume.serve()
        said = self.rig.ctl("--control", volume.control, "scrub", "vol0", "--wait", "--rate", "1G")
        self.assertRegex(said, "of these never written, all alike")
        scrub = volume.status()["scrub"]
        self.assertGreater(scrub["unwritten_bytes"], 32 * MIB)
        self.assertLess(scrub["unwritten_bytes"], scrub["done_bytes"])
        deadline = time.monotonic() + 60
        while volume.status()["unwritten_bytes"] > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(0, volume.status()["unwritten_bytes"])
        handle = server.connect()
        self.assertEqual(bytes(4096) + b"x" * 4096 + bytes(MIB - 8192),
                         bytes(handle.pread(MIB, 5 * MIB)))
        self.zeros(handle, 5 * MIB)
        self.stop_and_compare(volume, server)

    def test_without_being_asked(self):
        """Proves that create gives up zeroing legs after a second, and says so and how to have it; and that it
        writes them all where that is quick, and where it is told to."""
        legs = [self.fuse_leg(name) for name in "ab"]
        volume = self.rig.volume(legs, size=128 * MIB, resync_max_rate="4K", resync_min_rate="4K")
        for leg in legs:
            leg.prepare(volume.size)
            with open(leg.image, "r+b") as file:
                file.seek(DATA_OFFSET + 100 * MIB)
                file.write(os.urandom(MIB))
            leg.limit_rate(8 * 8 * MIB)
        volume.write_conf()
        began = time.monotonic()
        out = self.rig.ctl("create", volume.conf, "--overwrite")
        self.assertLess(time.monotonic() - began, 8, "half of what it takes to write all")
        self.assertIn("--zero", out)
        for leg in legs:
            leg.limit_rate(0)
        server = volume.serve()
        self.assertGreater(volume.status()["unwritten_bytes"], 64 * MIB)
        self.zeros(server.connect(), volume.size)
        server.stop()
        out = self.rig.ctl("create", volume.conf, "--overwrite", "--zero")
        self.assertNotIn("--zero", out)
        server = volume.serve()
        self.assertEqual(0, volume.status()["unwritten_bytes"])
        self.zeros(server.connect(), volume.size)
        self.stop_and_compare(volume, server)
        volume = self.full(4 * MIB)
        self.assertNotIn("--zero", self.rig.ctl("create", volume.conf, "--overwrite"))
        server = volume.serve()
        self.assertEqual(0, volume.status()["unwritten_bytes"])
        server.stop()

    def test_sparse_files(self):
        """Proves that create tells of a file without all of its room, and how much of it, and of no other."""
        volume = self.rig.volume([FullLeg(self.folder, name) for name in "ab"], size=64 * MIB)
        volume.write_conf()
        sparse = volume.legs[0].path
        with open(sparse, "wb") as file:
            file.truncate(DATA_OFFSET + volume.size)
        volume.legs[1].prepare(volume.size)
        out = self.rig.ctl("create", volume.conf, "--lazy", "--overwrite")
        self.assertRegex(out, r"leg a: its file is sparse: .* the other 63 MiB are written.*--zero")
        self.assertNotIn("leg b: its", out)
        out = self.rig.ctl("create", volume.conf, "--zero", "--overwrite")
        self.assertNotIn("sparse", out)
        self.assertGreaterEqual(os.stat(sparse).st_blocks * 512, DATA_OFFSET + volume.size)

    def test_disks_that_have_to_be_written(self):
        """Proves that the kernel is asked: of two disks one of which has no way to write zeros, both
        stay as they are; one that has it is zeroed."""
        if os.geteuid() != 0:
            raise Unavailable("loop devices need root")
        without = os.path.join(self.folder, "without")  # ramfs punches no holes
        os.mkdir(without)
        self.rig.run("mount", "-t", "ramfs", "ramfs", without)
        self.addCleanup(self.rig.run, "umount", "-l", without, check=False)
        quick, slow = Disk(self.rig, "a", self.rig.folder), Disk(self.rig, "b", without)
        volume = self.rig.volume([quick, slow], size=160 * MIB)
        for leg in (quick, slow):
            leg.prepare(volume.size)
        if slow.zeroes_cheaply() or not quick.zeroes_cheaply():
            raise Unavailable("loop devices zero otherwise here")
        volume.write_conf()
        with open(slow.path, "rb") as disk:
            disk.seek(DATA_OFFSET + 100 * MIB)
            before = disk.read(MIB)
        self.assertIn("it reads as zeros", self.rig.ctl("create", volume.conf, "--overwrite", "--lazy"))
        with open(slow.path, "rb") as disk:
            disk.seek(DATA_OFFSET + 100 * MIB)
            self.assertEqual(before, disk.read(MIB))
        server = volume.serve()
        self.zeros(server.connect(), volume.size)
        server.stop()
        if not quick.zeroes_cheaply():
            raise Unavailable("the kernel has found out that it does not")
        volume.legs.remove(slow)
        volume.write_conf()
        self.assertNotIn("it reads as zeros",
                         self.rig.ctl("create", volume.conf, "--overwrite", "--lazy"))
        self.assertEqual(0, json.loads(self.rig.ctl("dump", "--json", quick.path))
                         ["maps"]["unwritten"]["extents"])

    def test_dump(self):
        """Proves that dump shows what was never written, and both copies of the maps' pages: one that
        is damaged costs nothing, and a page counts as all set when both are."""
        volume = self.made(resync_max_rate="4K", resync_min_rate="4K")
        server = volume.serve()
        server.connect().pwrite(b"x" * 4096, 5 * MIB)
        server.stop()
        path = volume.legs[0].path
        maps = json.loads(self.rig.ctl("dump", "--json", path))["maps"]
        self.assertNotIn(5, [e for first, last in maps["unwritten"]["ranges"]
                             for e in range(first, last + 1)])
        self.assertGreater(maps["unwritten"]["bytes"], 32 * MIB)
        self.assertEqual({"offset": SECOND, "damaged": [], "first_damaged": [], "differ": []},
                         maps["second_copies"])
        unwritten = maps["unwritten"]
        for copy, damaged in ((MAPS, []), (SECOND, [0])):
            with open(path, "r+b") as file:
                file.seek(copy + 100)
                file.write(os.urandom(64))
            maps = json.loads(self.rig.ctl("dump", "--json", path))["maps"]
            self.assertEqual(damaged, maps["damaged"])
            self.assertEqual([0], maps["second_copies"]["first_damaged"])
            self.assertEqual(damaged, maps["second_copies"]["damaged"])
            if not damaged:
                self.assertEqual(unwritten, maps["unwritten"])
        self.assertEqual(0, maps["unwritten"]["extents"])
        said = self.rig.ctl("dump", path)
        self.assertIn(f"second copies at byte {SECOND}: 1 page, 1 damaged", said)
        self.assertIn("damaged    page 0: every extent from 0", said)
        said = self.rig.ctl("dump", volume.legs[1].path)
        self.assertIn(f"second copies at byte {SECOND}: 1 page, 0 damaged", said)
        self.assertRegex(said, r"unwritten  \d+ extents")

    def test_killed_during_first_writes(self):
        """Proves that a kill during first writes, and then a page of the maps that is lost in one copy,
        show nothing of what stood on the disks and lose nothing that was acknowledged."""
        volume = self.made(resync_max_rate="64K", resync_min_rate="4K", **PATIENT)
        server = volume.serve()
        model = None
        for copy in (MAPS, SECOND, MAPS):
            load = self.load(server, mix=MIX, model=model)
            with load:
                load.run_for(0.5)
                server.kill()
            model = load.model
            self.assertEqual([], load.errors)
            for leg in volume.legs:
                with open(leg.path, "r+b") as file:
                    file.seek(copy + 100)
                    file.write(os.urandom(64))
            server = volume.serve()
            self.assertEqual([], model.verify(server.connect()))
        volume.settings.update(resync_max_rate="0", resync_min_rate="4M")
        server.stop()
        volume.write_conf()
        server = volume.serve()
        deadline = time.monotonic() + 30
        while volume.status()["unwritten_bytes"] > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual([], model.verify(server.connect()))
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
