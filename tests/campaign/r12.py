"""R12 as the design says it, written down a second time: from what `surefootctl dump --json` shows of
the legs that are present, may the volume start?

Shares nothing with the product but the words of docs/DESIGN.md.  One line of history is assumed:
no start is forced here.
"""

import json


class Leg:
    def __init__(self, superblock):
        record = superblock["record"]
        names = [leg["name"] for leg in superblock["legs"]]
        self.name = names[superblock["leg_index"]]
        self.lineage = superblock["lineage"]
        self.claim = superblock["claim"]
        self.number = (record["term"], record["change"])
        self.named = frozenset(record["in_sync"])
        self.min_legs = record["min_legs"]

    @property
    def enough(self):
        """A record that names fewer than its min_legs counts with as many as it names."""
        return min(self.min_legs, len(self.named))

    def doubts(self, other):
        """Named by the other's record, older, and with a claim of a later term: that record may never
        have become durable."""
        return (self.name in other.named and self.number < other.number
                and self.claim > other.number[0])

    def __str__(self):
        return (f"{self.name}: {self.number[0]}.{self.number[1]} {''.join(sorted(self.named))} "
                f"min {self.min_legs} claim {self.claim}")


def read_leg(dump):
    document = json.loads(dump)
    if document["newest"] is None:
        return None
    return Leg(document["copies"][document["newest"]]["superblock"])


def may_start(legs):
    """legs: of those present.  The set to start with, or None."""
    if not legs:
        return None
    assert len({leg.lineage for leg in legs}) == 1, "a start was forced"
    present = {leg.name for leg in legs}
    newest = max(legs, key=lambda leg: leg.number)

    speakers = [newest]
    for speaker in speakers:  # grows while it is walked
        speakers += [leg for leg in legs if leg not in speakers and leg.doubts(speaker)]

    if len(speakers) > 1 and not all(speaker.named <= present for speaker in speakers):
        return None
    for base in sorted(speakers, key=lambda leg: leg.number, reverse=True):
        starting = base.named & present
        if len(starting) >= base.enough and all(
                len(speaker.named - starting) < speaker.enough for speaker in speakers):
            return starting
    return None
