"""What a client learns of holes."""

import threading
import time

from case import VolumeTest, main
from rig import FileLeg

MIB = 1024 * 1024
HOLE = 1  # NBD_STATE_HOLE


class Extents(VolumeTest):
    def connect(self, server):
        import nbd

        handle = nbd.NBD()
        handle.add_meta_context("base:allocation")
        handle.connect_uri(server.uri)
        server.handles.append(handle)
        return handle

    def runs(self, handle, offset, length):
        """[offset, length, is a hole] of all that the server tells of the range."""
        found = []

        def on_extents(context, at, entries, error):
            for size, flags in zip(entries[::2], entries[1::2]):
                found.append([at, size, bool(flags & HOLE)])
                at += size
            return 0

        while length > 0:
            handle.block_status(length, offset, on_extents)
            told = found[-1][0] + found[-1][1] - offset
            offset, length = offset + told, length - told
        return found

    def test_holes_are_told(self):
        """Proves that space never written is told as a hole and written space is not.  Writes the
        second MiB of a fresh volume and asks for the first four."""
        volume, server = self.served()
        handle = self.connect(server)
        handle.pwrite(b"x" * MIB, MIB)
        runs = self.runs(handle, 0, 4 * MIB)
        self.assertEqual([[0, MIB, True], [MIB, MIB, False]], runs[:2])
        self.assertTrue(all(hole for _, _, hole in runs[2:]), runs)
        self.stop_and_compare(volume, server)

    def test_many_ask_at_once(self):
        """Proves that no client gets the answer to another one's question.  Two halves, one of data
        and one of holes; eight clients ask about one half each, all at the same time."""
        volume, server = self.served()
        handles = [self.connect(server) for _ in range(8)]
        for offset in range(0, 16 * MIB, 4 * MIB):
            handles[0].pwrite(b"x" * (4 * MIB), offset)
        wrong = []

        def ask(index):
            for round in range(200):
                offset = 16 * MIB * (index % 2) + 4096 * round
                for _, size, hole in self.runs(handles[index], offset, MIB):
                    if hole and (index % 2 == 0 or size > MIB):
                        wrong.append((offset, size))

        threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)
        self.stop_and_compare(volume, server)

    def test_a_frozen_leg_is_not_waited_for(self):
        """Proves that the question is answered within the read deadline though the leg that is
        asked hangs: as data.  The first leg is frozen; nothing else shows yet that it is."""
        legs = [self.fuse_leg("a"), FileLeg(self.rig, "b")]
        volume, server = self.served(legs, read_deadline="200ms")
        handle = self.connect(server)
        legs[0].freeze()
        start = time.monotonic()
        runs = self.runs(handle, 0, MIB)
        took = time.monotonic() - start
        legs[0].thaw()
        self.assertEqual([[0, MIB, False]], runs)
        self.assertLess(took, 1.0)
        self.stop_and_compare(volume, server)


if __name__ == "__main__":
    main()
