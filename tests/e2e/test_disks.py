"""Proves that a volume outlives what disks do beside failing as a whole: bad blocks in their metadata,
other sectors, files that are deleted or swapped."""

import fcntl
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from case import VolumeTest, main
from rig import DATA_OFFSET, MIB, CommandFailed, FileLeg, FuseLeg, Unavailable

PAGE = 4096
# Each request of a leg of this kind starts a shell.
PATIENT = {"size": 4 * MIB, "write_deadline": "10s", "read_deadline": "10s", "flush_deadline": "20s"}


LOOP_SET_STATUS64, LOOP_GET_STATUS64 = 0x4C04, 0x4C05


def set_loop_offset(device, offset):
    """Behind the end of its file, a loop device has no size."""
    with open(device, "rb") as loop:
        info = bytearray(232)
        fcntl.ioctl(loop, LOOP_GET_STATUS64, info)
        info[24:32] = offset.to_bytes(8, "little")
        fcntl.ioctl(loop, LOOP_SET_STATUS64, bytes(info))


class BadBlocksLeg(FuseLeg):
    """A disk of which ranges cannot be read until they are written."""

    def start_server(self):
        self.bad = self.rig.folder / f"{self.name}.bad"
        self.bad.touch()
        self.socket.unlink(missing_ok=True)
        meets = (f"meets() {{ while read s e; do [ $1 -lt $e ] && [ $(($1+$2)) -gt $s ] && return 0;"
                 f" done <{self.bad}; return 1; }}; ")
        self.nbdkit = self.rig.spawn(
            ["nbdkit", "-f", "-t", "1", "-U", self.socket, "eval",
             f"get_size=stat -c %s {self.image}", "can_write=exit 0", "can_flush=exit 0",
             f"flush=sync -d {self.image}",
             f"pread={meets} meets $4 $3 && {{ echo 'EIO bad block' >&2; exit 1; }}; dd if={self.image}"
             " iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=1M status=none",
             f"pwrite={meets} meets $4 $3 && : >{self.bad}; dd of={self.image}"
             " oflag=seek_bytes seek=$4 conv=notrunc bs=1M status=none"])
        self.rig.wait_until(self.socket.exists, f"{self.socket}", process=self.nbdkit)

    def break_at(self, offset, length=PAGE):
        self.bad.write_text(f"{offset} {offset + length}\n")

    def is_well(self):
        return not self.bad.read_text()


class Disks(VolumeTest):
    def bad_blocks_leg(self, name):
        try:
            return BadBlocksLeg(self.rig, name)
        except Unavailable as reason:
            self.skipTest(str(reason))

    def check(self, volume):
        return subprocess.run([self.rig.surefootctl, "check", volume.conf], stdout=subprocess.PIPE,
                              text=True, timeout=60).stdout

    def log(self):
        return "".join(log.read_text(errors="replace") for log in self.rig.folder.glob("*.log"))


class BadHead(Disks):
    def starts_with_bad_pages(self, leg, others):
        volume = self.rig.volume([leg, *others], **PATIENT).create()
        server = volume.serve()
        server.connect().pwrite(b"\x55" * PAGE, 8192)
        server.stop()
        for offset in (0, 4096, 8192, 32768, 65536):
            with self.subTest(offset=offset):
                leg.break_at(offset)
                dump = self.rig.ctl("dump", leg.path)
                self.assertEqual(offset in (0, 4096), "it cannot be read" in dump, dump)
                self.assertFalse(leg.is_well(), "dump has written")
                server = volume.serve()
                self.assertEqual("in-sync", volume.leg(leg.name)["state"])
                self.rig.wait_until(lambda: f"the first at byte {offset}:" in self.log(), "a word")
                self.assertEqual(b"\x55" * PAGE, bytes(server.connect().pread(PAGE, 8192)))
                volume.wait_all_in_sync()
                self.rig.wait_until(leg.is_well, "the bad block is written over")
                server.stop()
        volume.assert_legs_equal()

    def test_one_of_two(self):
        """Proves that one bad block among the first 64 KiB or in the maps hides no leg, that the leg is
        in sync from the start, and that the block is written over."""
        self.starts_with_bad_pages(self.bad_blocks_leg("a"), [FileLeg(self.rig, "b")])

    def test_one_of_three(self):
        """The same with three legs, where nothing has to be copied."""
        self.starts_with_bad_pages(self.bad_blocks_leg("a"),
                                   [FileLeg(self.rig, "b"), FileLeg(self.rig, "c")])

    def test_newest_record_unreadable(self):
        """Proves that what only one leg was acknowledged to hold is read after the superblock that says
        so has become unreadable, though the other leg's says that both are in sync."""
        leg = self.bad_blocks_leg("a")
        volume = self.rig.volume([leg, FileLeg(self.rig, "b")], **PATIENT).create()
        server = volume.serve()
        volume.wait_all_in_sync()
        self.rig.ctl("--control", volume.control, "leg", "fail", volume.name, "b")
        server.connect().pwrite(b"\x77" * PAGE, 0)
        server.kill()
        self.rig.wait_until(lambda: " is in use" not in self.check(volume) and "in use:" not in
                            self.check(volume), "the legs are free")
        newest = int(re.search(r"copy (\d) is the newest", self.rig.ctl("dump", leg.path))[1])
        leg.break_at(newest * PAGE)
        server = volume.serve()
        self.assertEqual(b"\x77" * PAGE, bytes(server.connect().pread(PAGE, 0)))
        self.stop_and_compare(volume, server)

    def test_no_advice_that_loses_data(self):
        """Proves that no operator is told to start by force without a disk that is there and unreadable."""
        leg = self.bad_blocks_leg("a")
        volume = self.rig.volume([leg, FileLeg(self.rig, "b")], **PATIENT).create()
        volume.serve().stop()
        leg.break_at(0, 2 * PAGE)
        said = self.check(volume)
        self.assertIn("would not start", said)
        self.assertIn("ddrescue", said)
        self.assertNotIn("force", said)


class LargeSectors(Disks):
    def disk(self, name, sector=4096, size=24 * MIB):
        """A block device with sectors of that size; detached at the end."""
        image = self.rig.folder / f"{name}.disk"
        image.touch()
        os.truncate(image, size)
        try:
            device = self.rig.run("losetup", "-f", "--show", "--sector-size", str(sector),
                                  str(image)).strip()
        except (CommandFailed, OSError) as reason:
            self.skipTest(f"no loop device with large sectors: {reason}")
        self.rig.on_close(lambda: self.rig.run("losetup", "-d", device, check=False))
        return device

    def smallest(self, server):
        said = subprocess.run(["nbdinfo", "--json", f"nbd+unix:///?socket={server.socket}"],
                              stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout
        return int(re.search(r'"block_size_minimum": (\d+)', said)[1])

    def sectors(self, client, first, byte):
        """Single sectors of 512, written side by side and read again."""
        for i in range(first, first + 16):
            client.pwrite(bytes([(byte + i) % 256]) * 512, i * 512)
        client.flush()
        for i in range(first, first + 16):
            self.assertEqual(bytes([(byte + i) % 256]) * 512, bytes(client.pread(512, i * 512)), i)

    def test_replacement(self):
        """Proves that a disk with sectors of 4096 takes the place of one with 512 while the volume
        runs, that the block size stays what it was made with, with it and after it, and that what was
        written in small blocks before and after reads as it was written."""
        device = self.disk("d")
        volume, server = self.served(size=16 * MIB)
        client = server.connect()
        self.assertEqual(512, self.smallest(server))
        self.sectors(client, 1, 1)
        ctl = ["--control", volume.control, "leg"]
        self.rig.ctl(*ctl, "fail", volume.name, "c")
        self.rig.ctl(*ctl, "replace", volume.name, "c", device)
        volume.wait_all_in_sync()
        self.sectors(client, 3, 50)
        self.assertEqual(512, self.smallest(server))
        server.stop()
        volume.legs[2].path = device
        volume.legs[2].image = self.rig.folder / "d.disk"
        volume.write_conf()
        server = volume.serve()
        volume.wait_all_in_sync()
        self.assertEqual(512, self.smallest(server))
        self.assertEqual(bytes([53]) * 512, bytes(server.connect().pread(512, 3 * 512)))
        self.sectors(server.connect(), 100, 3)
        self.stop_and_compare(volume, server)

    def test_comes_late(self):
        """Proves that it is taken too when the volume was started without it."""
        device = self.disk("d")
        link = self.rig.folder / "link"
        link.symlink_to(device)
        volume, server = self.served(size=16 * MIB)
        ctl = ["--control", volume.control, "leg"]
        self.rig.ctl(*ctl, "fail", volume.name, "c")
        self.rig.ctl(*ctl, "replace", volume.name, "c", link)
        volume.wait_all_in_sync()
        server.stop()
        link.unlink()
        volume.legs[2].path = link
        volume.legs[2].image = self.rig.folder / "d.disk"
        volume.write_conf()
        server = volume.serve()
        self.sectors(server.connect(), 20001, 1)  # behind those that the load writes
        with self.load(server, blocks=2048) as load:
            load.wait_count(50)
            link.symlink_to(device)
            volume.wait_leg("c", "in-sync")
            load.wait_count(100)
        self.assert_load_well(load, server)
        self.assertEqual(512, self.smallest(server))
        self.stop_and_compare(volume, server)

    def test_made_of_large_ones(self):
        """Proves that a volume of disks with sectors of 4096 keeps that block size with a smaller one
        in place of one of them."""
        legs = [FileLeg(self.rig, name) for name in "ab"]
        for leg in legs:
            leg.path = self.disk(leg.name)
            leg.image = self.rig.folder / f"{leg.name}.disk"
        volume = self.rig.volume(legs, size=16 * MIB)
        self.rig.ctl("create", volume.conf, "--size", volume.size)
        server = volume.serve()
        volume.wait_all_in_sync()
        self.assertEqual(4096, self.smallest(server))
        new = self.rig.folder / "new.img"
        ctl = ["--control", volume.control, "leg"]
        self.rig.ctl(*ctl, "fail", volume.name, "b")
        self.rig.ctl(*ctl, "replace", volume.name, "b", new)
        volume.wait_all_in_sync()
        server.stop()
        legs[1].path = legs[1].image = new
        volume.write_conf()
        server = volume.serve()
        self.assertEqual(4096, self.smallest(server))
        self.stop_and_compare(volume, server)


class Paths(Disks):
    def told(self, volume, text):
        self.rig.wait_until(lambda: text in (volume.leg("b")["reason"] or ""), text)
        self.rig.wait_until(lambda: text in self.log(), f"the log: {text}")
        events = self.rig.ctl("--control", volume.control, "events", volume.name)
        self.assertEqual(1, events.count(text), events)

    def test_deleted(self):
        """Proves that a leg's file which is deleted while it is open is told of once, in the log, the
        events and the status, and that the volume serves on."""
        volume, server = self.served()
        volume.legs[1].path.unlink()
        self.told(volume, "its file was deleted or renamed")
        client = server.connect()
        client.pwrite(b"x" * PAGE, 0)
        self.assertEqual("in-sync", volume.leg("b")["state"])

    def test_renamed_and_back(self):
        """Proves the same of one that is renamed, and that nothing is wrong when it has its name back;
        and of one whose name another file has."""
        volume, server = self.served()
        path = volume.legs[1].path
        away = path.with_suffix(".away")
        path.rename(away)
        self.told(volume, "its file was deleted or renamed")
        away.rename(path)
        self.rig.wait_until(lambda: not volume.leg("b")["reason"], "nothing is wrong")
        path.rename(away)
        path.write_bytes(bytes(PAGE))
        self.rig.wait_until(lambda: "names another" in (volume.leg("b")["reason"] or ""), "a word")
        path.unlink()
        away.rename(path)
        self.stop_and_compare(volume, server)

    def test_at_the_stop(self):
        """Proves that it is told at the latest when the volume stops."""
        volume, server = self.served()
        volume.legs[1].path.unlink()
        server.stop()
        self.assertIn("leg b: its file was deleted or renamed", self.log())

    def test_swapped(self):
        """Proves that legs whose paths were exchanged in the file are found by what they say they are,
        that this is told, and that the volume is whole."""
        volume, server = self.served()
        server.connect().pwrite(b"x" * PAGE, 0)
        server.stop()
        a, b, c = volume.legs
        for order in ((b, c, a), (b, a, c)):
            with self.subTest(order="".join(leg.name for leg in order)):
                paths = [leg.path for leg in order]
                conf = volume.conf.read_text()
                for leg, path in zip(volume.legs, paths):
                    conf = re.sub(rf"(\[leg {leg.name}\]\npath = ).*", rf"\g<1>{path}", conf)
                volume.conf.write_text(conf)
                server = volume.serve()
                volume.wait_all_in_sync()
                status = volume.status()
                self.assertEqual([str(leg.path) for leg in volume.legs],
                                 [leg["path"] for leg in status["legs"]])
                self.assertIn("the file has other paths for the legs", self.log())
                self.stop_and_compare(volume, server)

    def test_empty_device(self):
        """Proves that a device which is there and has nothing in it is missing, and is taken when
        something is put in."""
        legs = [FileLeg(self.rig, name) for name in "abc"]
        volume, server = self.served(legs)
        server.stop()
        try:
            device = self.rig.run("losetup", "-f").strip()
            os.close(os.open(device, os.O_RDONLY))
        except (CommandFailed, OSError) as reason:
            self.skipTest(f"no loop devices: {reason}")
        legs[2].path = device
        volume.write_conf()
        server = volume.serve()
        self.assertEqual("missing", volume.leg("c")["state"])
        self.rig.run("losetup", device, legs[2].image)
        self.rig.on_close(lambda: self.rig.run("losetup", "-d", device, check=False))
        self.stop_and_compare(volume, server)

    def test_unplugged_and_plugged_again(self):
        """Proves that a disk which has left is missing, whatever it answers, and is opened anew by itself when
        it is there again.  A loop device loses its size, as one that is pulled out, under writes."""
        legs = [FileLeg(self.rig, name) for name in "abc"]
        # A busy host has its disks late by more than the usual deadlines, under a load without a pause.
        volume = self.rig.volume(legs, write_deadline="2s", flush_deadline="4s").create()
        try:
            device = self.rig.run("losetup", "-f", "--show", legs[2].path).strip()
        except CommandFailed as reason:
            self.skipTest(f"no loop devices: {reason}")
        self.rig.on_close(lambda: self.rig.run("losetup", "-d", device, check=False))
        legs[2].path = device
        volume.write_conf()
        server = volume.serve()
        volume.wait_all_in_sync()
        with self.load(server, mix=(("write", 1.0), ("flush", 0.1))) as load:
            load.run_for(0.5)
            set_loop_offset(device, 1 << 40)
            volume.wait_leg("c", "missing")
            load.run_for(0.5)
            self.assertEqual("missing", volume.leg("c")["state"])
            set_loop_offset(device, 0)
            volume.wait_all_in_sync()
        self.assertEqual([], load.errors)
        self.assertEqual([], load.model.verify(server.connect()))
        self.stop_and_compare(volume, server)

    def test_discard_of_what_is_not_there(self):
        """Proves that a leg is not reported as discarded when its disk is not there."""
        volume, server = self.served()
        ctl = ["--control", volume.control, "leg"]
        self.rig.ctl(*ctl, "fail", volume.name, "c")
        server.connect().flush()  # answered without the leg: nothing needs it any more
        path = volume.legs[2].path
        path.rename(path.with_suffix(".away"))
        with self.assertRaisesRegex(CommandFailed, "is not discarded yet.*no such file"):
            self.rig.ctl(*ctl, "discard", volume.name, "c")
        path.with_suffix(".away").rename(path)
        self.stop_and_compare(volume, server)


class Told(Disks):
    def test_many_failures_are_few_lines(self):
        """Proves that thousands of requests that fail alike leave a few lines: the first in full, and
        how many there were."""
        leg = self.bad_blocks_leg("a")
        volume = self.rig.volume([leg], **PATIENT).create()
        server = volume.serve()
        client = server.connect()
        leg.break_at(DATA_OFFSET, MIB)
        failed = 0
        for i in range(300):
            try:
                client.pread(PAGE, i % 256 * PAGE)
            except Exception:
                failed += 1
        self.assertEqual(300, failed)
        server.stop()
        lines = [line for line in server.log().splitlines() if "read" in line]
        self.assertEqual(1, sum(f"read of {PAGE} bytes at 0:" in line for line in lines), lines)
        self.assertEqual(1, sum("300 in all" in line for line in lines), lines)
        self.assertLess(len(lines), 20)

    def test_interrupt_beside_a_frozen_leg(self):
        """Proves that dump and create end on Ctrl-C while a leg hangs, and that a reader of their output
        sees the end of it."""
        legs = [FileLeg(self.rig, "a"), self.fuse_leg("b")]
        for leg in legs:
            leg.prepare(16 * MIB)
        volume = self.rig.volume(legs, size=16 * MIB)
        legs[1].freeze()
        try:
            for words in (("dump", legs[1].path), ("create", volume.conf, "--size", "16M")):
                with self.subTest(command=words[0]):
                    process = subprocess.Popen([self.rig.surefootctl, *map(str, words)],
                                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    with self.assertRaises(subprocess.TimeoutExpired):
                        process.communicate(timeout=1)
                    process.send_signal(signal.SIGINT)
                    process.communicate(timeout=20)
                    self.assertEqual(-signal.SIGINT, process.returncode)
        finally:
            legs[1].thaw()


class Huge(Disks):
    def test_largest(self):
        """Proves that what `create` takes is served, its last block too, and that more is refused with
        the number that is possible.  The legs are files of tmpfs, which has room for any length."""
        folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.addCleanup(folder.cleanup)
        legs = [FileLeg(self.rig, name) for name in "ab"]
        for leg in legs:
            leg.path = leg.image = Path(folder.name) / leg.name
        volume = self.rig.volume(legs)
        for size, fits in ((600 << 40, True), ((2 << 50) + 8 * MIB, True), (3 << 50, False)):
            try:
                for leg in legs:
                    leg.path.unlink(missing_ok=True)
                    leg.path.touch()
                    os.truncate(leg.path, size)
            except OSError as error:
                self.skipTest(f"no file of {size} bytes: {error}")
            volume.write_conf()
            if not fits:
                with self.assertRaisesRegex(CommandFailed, "at most 2251799813685248"):
                    self.rig.ctl("create", volume.conf, "--assume-clean")
                continue
            self.rig.ctl("create", volume.conf, "--assume-clean")
            server = volume.serve()
            client = server.connect()
            client.pwrite(b"z" * PAGE, size - 8 * MIB - PAGE)
            self.assertEqual(b"z" * PAGE, bytes(client.pread(PAGE, size - 8 * MIB - PAGE)))
            server.stop()


if __name__ == "__main__":
    main()
