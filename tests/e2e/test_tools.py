"""Proves that the tools people use on NBD work on a volume unmodified.
Runs fio with verification, nbdcopy, nbdinfo, qemu-io and qemu-img against the socket."""

import hashlib
import json
import os
import shutil

from case import VolumeTest, main
from rig import MIB


class Tools(VolumeTest):
    def need(self, tool):
        if not shutil.which(tool):
            self.skipTest(f"{tool} is not installed")

    def test_fio_verify(self):
        """Proves that fio finds every block as it wrote it.  Mixed sizes, random, depth 16, then
        its own verification pass."""
        self.need("fio")
        volume, server = self.served(size=64 * MIB)
        self.rig.run("fio", "--name=v", "--ioengine=nbd", f"--uri={server.uri}", "--rw=randwrite",
                     "--bsrange=512-64k", "--size=64M", "--iodepth=16", "--verify=crc32c",
                     "--do_verify=1", "--verify_fatal=1", "--fsync=64", "--verify_state_save=0",
                     seconds=90)
        self.stop_and_compare(volume, server)

    def test_nbdcopy_there_and_back(self):
        """Proves that an image copied in comes out the same.  nbdcopy with four connections each
        way, compared by hash."""
        self.need("nbdcopy")
        volume, server = self.served(size=64 * MIB)
        image, back = self.rig.folder / "image", self.rig.folder / "back"
        data = os.urandom(20 * MIB) + bytes(24 * MIB) + os.urandom(20 * MIB)
        image.write_bytes(data)
        self.rig.run("nbdcopy", "--connections=4", "--flush", image, server.uri)
        self.rig.run("nbdcopy", "--connections=4", server.uri, back)
        self.assertEqual(hashlib.sha256(data).digest(),
                         hashlib.sha256(back.read_bytes()).digest())
        self.stop_and_compare(volume, server)

    def test_nbdinfo(self):
        """Proves that nbdinfo can describe it.  Reads its JSON."""
        self.need("nbdinfo")
        volume, server = self.served()
        (export,) = json.loads(self.rig.run("nbdinfo", "--json", server.uri))["exports"]
        self.assertEqual(volume.size, export["export-size"])
        self.assertEqual("surefoot volume vol0, 3 legs", export["description"])

    def test_qemu_io(self):
        """Proves that QEMU can use it: patterns, zeroes, discard and flush.  qemu-io checks each."""
        self.need("qemu-io")
        volume, server = self.served()
        commands = ["write -P 0x5a 0 1M", "write -P 0xa5 512 512", "read -P 0xa5 512 512",
                    "read -P 0x5a 1024 1000k", "aio_write -P 0x11 2M 64k", "aio_flush",
                    "read -P 0x11 2M 64k", "write -z 2M 32k", "read -P 0 2M 32k",
                    "read -P 0x11 2080k 32k", "discard 0 1M", "read -P 0 0 1M", "write -f -P 7 8M 4k",
                    "read -P 7 8M 4k", "flush"]
        arguments = [word for command in commands for word in ("-c", command)]
        output = self.rig.run("qemu-io", "-f", "raw", *arguments, server.uri)
        self.assertNotIn("verification failed", output)
        self.stop_and_compare(volume, server)

    def test_qemu_img_convert_and_compare(self):
        """Proves that an image converted onto it compares equal.  qemu-img does both."""
        self.need("qemu-img")
        volume, server = self.served()
        image = self.rig.folder / "image"
        image.write_bytes(os.urandom(5 * MIB) + bytes(20 * MIB) + os.urandom(7 * MIB))
        self.rig.run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, server.uri)
        self.rig.run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, server.uri)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
