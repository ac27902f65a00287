"""What each block may hold: a register that is written by several clients at once.

A write that was answered supersedes what had ended before it began.  One that was not answered, since
the server was killed or said EIO, may be there or not; but what is read once when nothing is under way
stays (R11).
"""

import struct
import threading

BLOCK = 4096
KEPT = 64  # superseded values that a read still under way may see, per block


def pattern(stamp):
    return struct.pack("<Q", stamp) * (BLOCK // 8)


def stamp_of(data):
    """None: nothing that was ever written."""
    (stamp,) = struct.unpack_from("<Q", data)
    return stamp if data == pattern(stamp) else None


class Write:
    __slots__ = ("stamp", "begin", "end")

    def __init__(self, stamp, begin):
        self.stamp, self.begin, self.end = stamp, begin, None


class Registers:
    def __init__(self, blocks):
        self.lock = threading.Lock()
        self.now = 1
        self.next_stamp = 1
        nothing = Write(0, 0)
        nothing.end = 0
        self.held = [[nothing] for _ in range(blocks)]  # what a read may find
        self.gone = [[] for _ in range(blocks)]         # (stamp, since when not)

    def __len__(self):
        return len(self.held)

    def _tick(self):
        self.now += 1
        return self.now

    def begin_write(self, first, count, zero=False):
        with self.lock:
            stamp = 0 if zero else self.next_stamp
            self.next_stamp += 1
            write = Write(stamp, self._tick())
            for block in range(first, first + count):
                self.held[block].append(write)
            return write

    def end_write(self, write, first, count, answered):
        with self.lock:
            write.end = self._tick()
            if not answered:
                return
            for block in range(first, first + count):
                kept = []
                for other in self.held[block]:
                    if other.end is not None and other.end < write.begin:
                        self.gone[block].append((other.stamp, write.end))
                    else:
                        kept.append(other)
                self.held[block] = kept
                del self.gone[block][:-KEPT]

    def end_all(self):
        """The server that was to answer is dead."""
        with self.lock:
            now = self._tick()
            for held in self.held:
                for write in held:
                    if write.end is None:
                        write.end = now

    def begin_read(self):
        with self.lock:
            return self._tick()

    def allows(self, block, data, begun):
        stamp = stamp_of(data)
        with self.lock:
            return any(write.stamp == stamp for write in self.held[block]) or any(
                gone == stamp and since > begun for gone, since in self.gone[block])

    def pin(self, block, data):
        """Read while nothing is written: this it is from now on.  False: it must not be."""
        stamp = stamp_of(data)
        with self.lock:
            for write in self.held[block]:
                if write.stamp == stamp:
                    assert write.end is not None, "still under way"
                    self.held[block] = [write]
                    self.gone[block] = []
                    return True
        return False

    def describe(self, block, data):
        held = [(write.stamp, write.begin, write.end) for write in self.held[block]]
        return f"block {block}: read {stamp_of(data)}, may hold {held}"
