"""What the clients asked and were answered: a history of every sector, in the order of one clock.

Every write has a stamp of its own, which each of its sectors carries; zeroing alone has not.
"""

import itertools
import struct
from array import array

SECTOR = 512
ZERO = 0  # the stamp of what was zeroed, and of what was never written
TORN = -1  # of a sector that was never written like this
NEVER = float("inf")
CLIENT_SHIFT = 40


class Write:
    __slots__ = ("stamp", "first", "count", "begin", "end", "ok", "fua", "uncertain", "stable",
                 "sent_again")

    def __init__(self, stamp, first, count, begin, fua, sent_again):
        self.stamp, self.first, self.count = stamp, first, count
        self.begin, self.end = begin, NEVER
        self.ok, self.fua = False, fua
        self.uncertain = False  # failed, sent again, or never answered: may be there in part
        self.sent_again = sent_again  # until it is answered, by whichever server
        self.stable = NEVER  # the checker's: since when it must survive

    def content(self):
        return content(self.stamp, self.count)

    def covers(self, sector):
        return self.first <= sector < self.first + self.count

    def __repr__(self):
        how = "ok" if self.ok else "failed" if self.end != NEVER else "unanswered"
        name = ("zero" if self.stamp == ZERO else
                f"write {self.stamp >> CLIENT_SHIFT}.{self.stamp & (1 << CLIENT_SHIFT) - 1}")
        return (f"{name} [{self.begin}, {self.end}] {how}{' fua' if self.fua else ''}"
                f"{' uncertain' if self.uncertain else ''}")


class Read:
    __slots__ = ("first", "count", "begin", "end", "stamps", "by")

    def __init__(self, first, count, begin, by):
        self.first, self.count, self.begin, self.by = first, count, begin, by
        self.end = self.stamps = None

    def stamp(self, sector):
        return self.stamps if isinstance(self.stamps, int) else self.stamps[sector - self.first]

    def __repr__(self):
        return f"read by {self.by} [{self.begin}, {self.end}]"


class Flush:
    __slots__ = ("begin", "end", "ok")

    def __init__(self, begin):
        self.begin, self.end, self.ok = begin, NEVER, False


class Loss:
    """Caches were lost between begin and end on so many legs that what was not flushed may be gone."""

    def __init__(self, begin, at_rest):
        self.begin, self.end = begin, NEVER
        self.at_rest = at_rest  # while no server ran


def content(stamp, sectors):
    return struct.pack("<Q", stamp) * (SECTOR // 8 * sectors)


def stamps_of(data):
    """One number if all sectors are alike, else one each."""
    first, = struct.unpack_from("<Q", data)
    if data == content(first, len(data) // SECTOR):
        return first
    words = array("Q", data)[::SECTOR // 8]
    return tuple(stamp if data[i * SECTOR:(i + 1) * SECTOR] == content(stamp, 1) else TORN
                 for i, stamp in enumerate(words))


class History:
    """Many threads write it: in CPython a tick is one step, and so is an append."""

    def __init__(self):
        self.clock = itertools.count(1)
        self.stamps = itertools.count(1)
        self.writes, self.reads, self.flushes, self.losses = [], [], [], []
        self.voids = []  # when a later flush ceased to speak for what had been written before
        self.lost_in_this_life = False

    def now(self):
        return next(self.clock)

    def begin_write(self, client, first, count, fua=False, zero=False, sent_again=False):
        stamp = ZERO if zero else client << CLIENT_SHIFT | next(self.stamps)
        write = Write(stamp, first, count, self.now(), fua, sent_again)
        self.writes.append(write)
        return write

    def end_write(self, write, ok):
        write.ok = ok
        write.uncertain |= not ok
        write.end = self.now()

    def begin_read(self, first, count, by):
        return Read(first, count, self.now(), by)

    def end_read(self, read, data):
        """A read that fails says nothing and is not told of."""
        read.stamps = stamps_of(data)
        read.end = self.now()
        self.reads.append(read)

    def begin_flush(self):
        return Flush(self.now())

    def end_flush(self, flush, ok):
        flush.ok = ok
        flush.end = self.now()
        self.flushes.append(flush)
        if not ok:
            self.voids.append(flush.end)  # the client has been told

    def server_ended(self):
        """What was not answered is there since before now, or never; but for what is sent again."""
        now = self.now()
        for write in self.writes:
            if write.end == NEVER:
                write.uncertain = True
                if not write.sent_again:
                    write.end = now
        if self.lost_in_this_life:
            self.voids.append(now)  # the server that knew of the loss is gone
        self.lost_in_this_life = False

    def begin_loss(self):
        self.losses.append(Loss(self.now(), at_rest=False))
        self.lost_in_this_life = True
        return self.losses[-1]

    def end_loss(self, loss):
        loss.end = self.now()

    def lose_at_rest(self):
        loss = Loss(self.now(), at_rest=True)
        loss.end = self.now()
        self.losses.append(loss)
        self.voids.append(loss.end)
