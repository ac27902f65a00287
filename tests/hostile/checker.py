"""Could a disk have had this history?

 - Linearizable: some order of writes and reads, each at a moment between its call and its answer,
   explains every read.  As every write has its own stamp, that is decided exactly (Gibbons and Korach,
   "Testing shared memories", 1997): the zone of a value lies between the first end and the last begin
   of its write and its reads; no two zones that run forward overlap, and none that runs backward lies
   within one that runs forward.
 - A write that failed is there since before its answer, or never.
 - Nothing flushed is lost: after a loss of caches a sector holds what a flush has made stable, or
   something newer; and what is read then stays, whatever is lost later.
 - A write is there as a whole or not at all, unless it failed, or a server or a disk ended meanwhile.
"""

import bisect

from history import NEVER, TORN, ZERO


def check(history, most=5):
    """What is wrong, in words."""
    checker = Checker(history)
    checker.run(most)
    return checker.wrong[:most]


class Checker:
    def __init__(self, history):
        self.history = history
        self.losses = sorted(history.losses, key=lambda loss: loss.begin)
        self.by_stamp = {write.stamp: write for write in history.writes if write.stamp != ZERO}
        self.wrong = []
        self._find_stable()

    def run(self, most):
        sectors = {}
        for write in self.history.writes:
            for sector in range(write.first, write.first + write.count):
                sectors.setdefault(sector, ([], []))[0].append(write)
        for read in self.history.reads:
            for sector in range(read.first, read.first + read.count):
                sectors.setdefault(sector, ([], []))[1].append((read, read.stamp(sector)))
        last = None
        for sector, (writes, found) in sorted(sectors.items()):
            # Neighbours have mostly been through the same.
            if (writes, found) != last:
                self.sector = sector
                self._check_sector(writes, found)
            last = (writes, found)
            if len(self.wrong) >= most:
                return
        for read in self.history.reads:
            self._check_whole(read)

    def _say(self, text):
        self.wrong.append(f"sector {self.sector}: {text}")

    def _find_stable(self):
        """From when on each acknowledged write must survive."""
        good = sorted((flush for flush in self.history.flushes if flush.ok),
                      key=lambda flush: flush.begin)
        begins = [flush.begin for flush in good]
        soonest = [NEVER] * (len(good) + 1)  # end of any flush from here on
        for i in reversed(range(len(good))):
            soonest[i] = min(good[i].end, soonest[i + 1])
        voids = sorted(self.history.voids)
        for write in self.history.writes:
            if not write.ok:
                continue
            write.stable = write.end if write.fua else soonest[bisect.bisect(begins, write.end)]
            void = bisect.bisect(voids, write.end)
            if not write.fua and void < len(voids) and voids[void] < write.stable:
                write.stable = NEVER

    # -- one sector --

    def _check_sector(self, writes, found):
        known = {write.stamp: write for write in writes if write.stamp != ZERO}
        zeros = [write for write in writes if write.stamp == ZERO]
        sound = []
        for read, stamp in found:
            if stamp == TORN:
                self._say(f"{read} found what was never written")
            elif stamp != ZERO and stamp not in known:
                self._say(f"{read} found {self.by_stamp.get(stamp, hex(stamp))}, never written here")
            elif stamp != ZERO and known[stamp].begin > read.end:
                self._say(f"{read} found what was written later: {known[stamp]}")
            else:
                sound.append((read, stamp))
        self._check_stable(writes, known, zeros, sound)
        begin, loss = 0, None
        for following in self.losses + [None]:
            end = following.begin if following else NEVER
            self._check_epoch(begin, end, loss, writes, known, zeros, sound)
            if following:
                begin, loss = following.end, following

    def _check_stable(self, writes, known, zeros, found):
        """No read finds what something stable had superseded."""
        times, newest = [], []
        for write in sorted(writes, key=lambda write: write.stable):
            if write.stable != NEVER and (not newest or write.begin > newest[-1].begin):
                times.append(write.stable)
                newest.append(write)
        for read, stamp in found:
            at = bisect.bisect(times, read.begin) - 1
            if at < 0:
                continue
            older = ((stamp == ZERO and not any(z.end > newest[at].begin for z in zeros))
                     or (stamp != ZERO and known[stamp].end < newest[at].begin))
            if older:
                self._say(f"{read} found {known.get(stamp, 'zeros')}, but flushed was {newest[at]} "
                          f"at {newest[at].stable}")

    def _check_epoch(self, begin, end, loss, writes, known, zeros, found):
        """Between two losses."""
        values = {}
        for read, stamp in found:
            if read.begin >= begin and read.end <= end:
                values.setdefault(stamp, []).append(read)
        zones = []
        for write in writes:
            reads = values.get(write.stamp, []) if write.stamp != ZERO else []
            if reads:
                last = max(reads, key=lambda read: read.begin)
                zones.append((min([max(write.end, begin)] + [read.end for read in reads]),
                              max(write.begin, begin, last.begin), write, last))
            elif write.ok and write.end <= end and self._took_effect_after(write, begin, loss):
                zones.append((write.end, max(write.begin, begin), write, None))
        self._check_zones(zones)
        for read in values.get(ZERO, ()):
            self._check_zeros(read, begin, loss, writes, zeros)
        if loss and loss.at_rest:
            self._check_decided(begin, known, values, found)

    @staticmethod
    def _took_effect_after(write, begin, loss):
        """What was under way while caches were lost may have been lost with them."""
        return write.begin >= begin or (loss is not None and loss.at_rest and write.end > begin)

    def _check_zones(self, zones):
        """Of each: first end, last begin, the write, and the read that begins last."""
        forward = sorted((zone for zone in zones if zone[0] < zone[1]), key=lambda zone: zone[0])
        for (_, one_until, one, by), (since, until, other, _) in zip(forward, forward[1:]):
            if since < one_until:
                self._say(f"{by} found {one}, but {other} was there since {since} at the latest, and "
                          f"still at {until}")
                return
        starts = [zone[0] for zone in forward]
        for first_end, last_begin, write, _ in zones:
            at = bisect.bisect(starts, last_begin) - 1
            if first_end >= last_begin and at >= 0 and forward[at][1] > first_end:
                since, _, other, by = forward[at]
                self._say(f"{by} found {other}, which was there since {since} at the latest, but "
                          f"meanwhile {write}")
                return

    def _check_zeros(self, read, begin, loss, writes, zeros):
        """Zeros are not one value: a read of them is wrong if no zeroing can explain it."""
        over = [write for write in writes if write.ok and write.stamp != ZERO
                and write.end < read.begin and self._took_effect_after(write, begin, loss)]
        if not over:
            return
        newest = max(over, key=lambda write: write.begin)
        if not any(newest.begin < zero.end and zero.begin < read.end for zero in zeros):
            self._say(f"{read} found zeros, but before there was {newest}")

    def _check_decided(self, begin, known, values, found):
        """The first read after a crash decides between what is older (R11), and what it found has
        been made stable."""
        older = [(reads, stamp) for stamp, reads in values.items()
                 if stamp != ZERO and known[stamp].end <= begin]
        if not older:
            return
        reads, stamp = older[0]  # if there are two, their zones overlap
        since = min(read.end for read in reads)
        for read, other in found:
            if (read.begin > since and other not in (stamp, ZERO)
                    and known[other].end <= begin):
                self._say(f"{read} found {known[other]}, but {reads[0]} had decided for {known[stamp]}")
                return

    # -- one read --

    def _check_whole(self, read):
        if isinstance(read.stamps, int):
            return
        found = [self.by_stamp[stamp] for stamp in set(read.stamps) if stamp in self.by_stamp]
        for i, one in enumerate(found):
            for other in found[i + 1:]:
                both = {stamp for sector, stamp in enumerate(read.stamps, read.first)
                        if one.covers(sector) and other.covers(sector)}
                if {one.stamp, other.stamp} <= both and not self._may_be_in_part(one, other, read):
                    self.sector = read.first
                    self._say(f"{read} found both {one} and {other} where each had been written over "
                              "the other")

    def _may_be_in_part(self, one, other, read):
        since = min(one.begin, other.begin)
        return (one.uncertain or other.uncertain
                or any(loss.end > since and loss.begin < read.end for loss in self.losses))
