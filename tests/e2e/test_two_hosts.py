"""Proves what stands between two hosts that see the same legs: the second start is refused, and one that
takes the legs all the same ends the first at once.
A host is a mount of its own for each leg, over one image: so no lock of one is seen by the other.  The
machine is the same, so that the first is known by its process; that of another machine is made up."""

import errno
import json
import os
import pathlib
import re
import struct
import subprocess

import nbd

from case import VolumeTest, main
from rig import MIB, FileLeg

SIZE = 32 * MIB


class SecondMount:
    """A leg through a mount of this host's own."""

    def __init__(self, rig, first, host):
        self.name = first.name
        self.image = first.image
        self.path = rig.folder / f"{host}-{first.name}.leg"
        self.first = first
        self.rig = rig

    def mount(self):
        self.path.touch()
        fuse = self.rig.spawn(["nbdfuse", self.path, f"nbd+unix:///?socket={self.first.socket}"])
        self.rig.wait_until(self.is_mounted, f"the mount {self.path}", process=fuse)
        self.rig.on_close(self.unmount)

    def is_mounted(self):
        with open("/proc/self/mounts") as mounts:
            return any(line.split()[1] == str(self.path) for line in mounts)

    def unmount(self):
        subprocess.run(["fusermount3", "-u", "-z", str(self.path)], stderr=subprocess.DEVNULL)


class TwoHosts(VolumeTest):
    def test_two_hosts(self):
        """Proves that the second is refused, with the host's name and the way out; that with take=true
        it serves, after the first has seen it; that the first answers EIO from then on, under suspend
        too, and says by whom it was taken; that what the second has is on both legs."""
        legs = [self.fuse_leg("a"), self.fuse_leg("b")]
        for leg in legs:
            leg.prepare(SIZE)
        volume = self.rig.volume(legs, size=SIZE, on_too_few="suspend", write_deadline="3s",
                                 read_deadline="3s", flush_deadline="3s")
        self.rig.ctl("create", "--assume-clean", volume.conf)
        first = volume.serve()
        volume.wait_all_in_sync()
        handle = first.connect()
        handle.pwrite(b"1" * 65536, 0)

        mounts = [SecondMount(self.rig, leg, "second") for leg in legs]
        for leg in mounts:
            leg.mount()
        conf = self.rig.folder / "second.conf"
        text = pathlib.Path(volume.conf).read_text()
        for leg in mounts:
            text = text.replace(str(leg.first.path), str(leg.path))
        for path, own in ((volume.control, "second.ctl"), (volume.settings["fast_socket"], "second.fast")):
            text = text.replace(str(path), str(self.rig.folder / own))
        conf.write_text(text + "\n")
        socket = self.rig.folder / "second.sock"
        plugin = self.rig.plugin
        refused = subprocess.run(["nbdkit", "-f", "-U", socket, plugin, conf, "wait_for_legs=0s"],
                                 capture_output=True, text=True, timeout=60)
        self.assertNotEqual(0, refused.returncode)
        self.assertRegex(refused.stderr, f"in use by {re.escape(os.uname().nodename)} .*take=true")
        self.assertIn("in use by", self.rig.ctl("check", conf))
        handle.pwrite(b"2" * 65536, 65536)
        self.assertEqual("healthy", volume.status()["state"])

        second = self.rig.spawn(["nbdkit", "-f", "-U", socket, plugin, conf, "take=true"])
        self.rig.wait_until(socket.exists, "the second server", process=second)
        other = nbd.NBD()
        other.connect_uri(f"nbd+unix:///?socket={socket}")
        self.assertEqual(b"1" * 65536 + b"2" * 65536, bytes(other.pread(131072, 0)))
        other.pwrite(b"3" * 65536, 0)
        other.flush()
        with self.assertRaises(nbd.Error) as caught:
            handle.pwrite(b"4" * 65536, 0)
        self.assertEqual(errno.EIO, caught.exception.errnum)
        with self.assertRaises(nbd.Error):
            handle.pread(65536, 0)
        status = volume.status()
        self.assertEqual("failed", status["state"])
        self.assertRegex(status["reason"], f"taken over by {re.escape(os.uname().nodename)}, term")
        self.assertRegex(first.log(), r"healthy -> failed \(taken over by")
        self.assertEqual(b"3" * 65536, bytes(other.pread(65536, 0)))
        other.shutdown()
        self.rig.reap(second, 15)
        first.stop()
        self.assertRegex(first.log(), "stopped, not clean: it was taken over")
        for leg in legs:
            with open(leg.image, "rb") as image:
                image.seek(8 * MIB)
                self.assertEqual(b"3" * 65536 + b"2" * 65536, image.read(131072), leg.name)

    def test_another_machine(self):
        """Proves that legs that another machine holds are not started from, also after a kill, until it
        has stopped clean or they are taken; a restart of one's own after a kill is."""
        legs = [FileLeg(self.rig, "a"), FileLeg(self.rig, "b")]
        volume, server = self.served(legs, size=SIZE)
        server.connect().pwrite(b"1" * 65536, 0)
        server.kill()
        server = volume.serve()
        volume.wait_all_in_sync()
        server.kill()
        for leg in legs:
            self.give_to_another(leg)
        refused = subprocess.run(["nbdkit", "-f", "-U", "-", self.rig.plugin, volume.conf,
                                  "wait_for_legs=0s"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(0, refused.returncode)
        self.assertRegex(refused.stderr, "in use by elsewhere .* since 20.*, term ")
        taken = volume.serve("take=true")
        volume.wait_all_in_sync()
        self.assertEqual(b"1" * 65536, bytes(taken.connect().pread(65536, 0)))
        taken.stop()
        dump = json.loads(self.rig.ctl("dump", "--json", legs[0].path))
        self.assertIn('"holder": null', json.dumps(dump))
        self.stop_and_compare(volume, volume.serve())

    def give_to_another(self, leg):
        """Writes another machine's holder over ours, with the CRC that belongs to it."""
        with open(leg.path, "r+b") as f:
            for at in (0, 4096):
                f.seek(at)
                page = bytearray(f.read(4096))
                if page[8] != 4:
                    continue
                page[1280:1344] = b"elsewhere".ljust(64, b"\0")
                page[1344:1376] = bytes(range(1, 33))
                page[16:20] = bytes(4)
                page[16:20] = struct.pack("<I", crc32c(page))
                f.seek(at)
                f.write(page)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
    main()
