"""Proves that a healthy volume is a block device: what is written is read, at any offset and length,
by any number of connections, through every request that NBD has.
A libnbd client compares the volume with a plain array in memory."""

import errno
import random
import sys

import nbd

from case import VolumeTest, main
from rig import MIB


def tolerant(handle):
    """Lets libnbd send what the server's block size asks it not to."""
    handle.set_strict_mode(handle.get_strict_mode() & ~nbd.STRICT_ALIGN)
    return handle


class BasicIO(VolumeTest):
    def test_what_it_offers(self):
        """Proves what a client is told about the volume.  Asks libnbd after the handshake."""
        volume, server = self.served()
        handle = server.connect()
        self.assertEqual(volume.size, handle.get_size())
        for can in ("flush", "fua", "trim", "zero", "fast_zero", "multi_conn"):
            self.assertTrue(getattr(handle, f"can_{can}")(), can)
        self.assertFalse(handle.is_read_only())
        self.assertFalse(handle.is_rotational())
        self.assertFalse(handle.can_cache())
        minimum = handle.get_block_size(nbd.SIZE_MINIMUM)
        self.assertIn(minimum, (512, 4096))
        self.assertEqual(4096, handle.get_block_size(nbd.SIZE_PREFERRED))
        self.assertEqual(32 * MIB, handle.get_block_size(nbd.SIZE_MAXIMUM))

    def test_a_new_volume_is_zeros(self):
        """Proves that nothing shines through from before.  Reads all of a fresh volume."""
        volume, server = self.served(size=8 * MIB)
        self.assertEqual(bytes(volume.size), bytes(server.connect().pread(volume.size, 0)))

    def test_any_offset_and_length(self):
        """Proves that odd offsets and lengths change exactly the bytes that they name.
        Random writes, zeros, trims and reads are compared with an array after each read.
        What is trimmed reads as zeros or as before."""
        size = 4 * MIB
        volume, server = self.served(size=size)
        handle = tolerant(server.connect())
        seed = random.randrange(1 << 32)
        print(f"seed {seed}", file=sys.stderr)
        rng = random.Random(seed)
        expected = bytearray(size)
        lengths = (1, 2, 511, 512, 513, 4095, 4096, 4097, 65536, 300_001, 2 * MIB + 1)
        for _ in range(400):
            length = min(rng.choice(lengths), size)
            offset = rng.randrange(size - length + 1)
            what = rng.choice(("write", "write", "read", "zero", "trim"))
            if what == "write":
                data = rng.randbytes(length)
                handle.pwrite(data, offset, rng.choice((0, nbd.CMD_FLAG_FUA)))
                expected[offset:offset + length] = data
            elif what == "zero":
                handle.zero(length, offset, rng.choice((0, nbd.CMD_FLAG_NO_HOLE)))
                expected[offset:offset + length] = bytes(length)
            elif what == "trim":
                handle.trim(length, offset)
                found = bytes(handle.pread(length, offset))
                self.assertTrue(all(byte in (0, was) for byte, was in
                                    zip(found, expected[offset:offset + length])))
                expected[offset:offset + length] = found
            else:
                self.assertEqual(bytes(expected[offset:offset + length]),
                                 bytes(handle.pread(length, offset)), f"{length} at {offset}")
        self.assertEqual(bytes(expected), bytes(handle.pread(size, 0)))
        self.stop_and_compare(volume, server)

    def test_neighbours_within_one_block(self):
        """Proves that two writers of neighbouring bytes never undo each other.
        Eight requests at once write the eighths of the same block, again and again."""
        volume, server = self.served()
        handle = tolerant(server.connect())
        for turn in range(1, 101):
            pieces = [bytes([turn ^ i]) * 63 for i in range(8)]
            cookies = [handle.aio_pwrite(piece, 4096 + 63 * i) for i, piece in enumerate(pieces)]
            for cookie in cookies:
                while not handle.aio_command_completed(cookie):
                    handle.poll(-1)
            self.assertEqual(b"".join(pieces), bytes(handle.pread(63 * 8, 4096)), f"turn {turn}")
        self.stop_and_compare(volume, server)

    def test_zero_longer_than_64_MiB(self):
        """Proves that a long zero is done to its end: nbdkit 1.32 itself stops after 64 MiB, and
        reports success, where a plugin leaves zeroing to it.
        Fills 80 MiB, zeroes them in one request, reads all."""
        volume, server = self.served(size=96 * MIB)
        handle = server.connect()
        for offset in range(0, 96 * MIB, 32 * MIB):
            handle.pwrite(b"\xff" * (32 * MIB), offset)
        handle.zero(80 * MIB, 4 * MIB)
        self.assertEqual(b"\xff" * (4 * MIB), bytes(handle.pread(4 * MIB, 0)))
        for offset in range(4 * MIB, 84 * MIB, 16 * MIB):
            self.assertEqual(bytes(16 * MIB), bytes(handle.pread(16 * MIB, offset)), offset)
        self.assertEqual(b"\xff" * (12 * MIB), bytes(handle.pread(12 * MIB, 84 * MIB)))
        self.stop_and_compare(volume, server)

    def test_fast_zero_is_refused_at_once(self):
        """Proves that FAST_ZERO is answered ENOTSUP and changes nothing.  Writes, fast-zeroes, reads."""
        volume, server = self.served()
        handle = server.connect()
        handle.pwrite(b"\xaa" * 4096, 0)
        with self.assertRaises(nbd.Error) as refused:
            handle.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO)
        self.assertEqual(errno.ENOTSUP, refused.exception.errnum)
        self.assertEqual(b"\xaa" * 4096, bytes(handle.pread(4096, 0)))

    def test_connections_see_each_other(self):
        """Proves multi-conn: what one connection was answered, another reads, and may flush for it.
        Three connections take turns in writing, flushing and reading."""
        volume, server = self.served()
        handles = [server.connect() for _ in range(3)]
        for turn in range(30):
            data = bytes([turn + 1]) * 8192
            handles[turn % 3].pwrite(data, turn * 8192)
            handles[(turn + 1) % 3].flush()
            self.assertEqual(data, bytes(handles[(turn + 2) % 3].pread(8192, turn * 8192)))

    def test_mixed_load(self):
        """Proves that reads, writes and flushes at depth hold together on two connections.
        Two loads that know what they wrote run in the halves of the time, one after the other on
        the same model, and everything is read back."""
        volume, server = self.served()
        mix = (("write", 0.55), ("read", 0.4), ("flush", 0.05))
        with self.load(server, mix=mix) as first:
            first.run_for(2)
        self.assert_load_well(first, server)
        with self.load(server, mix=mix, model=first.model, depth=32) as second:
            second.run_for(2)
        self.assert_load_well(second, server)
        self.assertGreater(len(first.operations) + len(second.operations), 200)
        self.stop_and_compare(volume, server)

    def test_beyond_the_end(self):
        """Proves that the volume ends where it says.  Asks for the last byte and for one more."""
        volume, server = self.served()
        handle = tolerant(server.connect())
        handle.set_strict_mode(0)
        handle.pwrite(b"z", volume.size - 1)
        self.assertEqual(b"z", bytes(handle.pread(1, volume.size - 1)))
        for request in (lambda: handle.pread(2, volume.size - 1),
                        lambda: handle.pwrite(b"zz", volume.size - 1),
                        lambda: handle.zero(4096, volume.size)):
            with self.assertRaises(nbd.Error):
                request()


if __name__ == "__main__":
    main()
