"""Three stories that `sf-sim --trace` tells, line by line, in the words a reader follows them by: a leg
that hangs and comes back, a crash, a sector that cannot be read.

A story is what has to stand in the trace in that order, with other lines in between.  `<name>` is a
number: any the first time, the same one from then on; `<_>` is any each time, and `*` any text.  What may
not stand before a line comes is its `unless`.  So times, handles and legs may be whatever the seed draws.
Where a change of the draws takes a story out of its seed, another seed that has it is looked for."""

import re
import subprocess
import sys
import time
import unittest
from dataclasses import dataclass, field

SEARCHED = range(1, 501)  # when the story has left its seed
SEARCHED_S = 80
DATA = 16384  # the block where the data begin on a leg
LONG = 20000  # lines, more than a reader would follow
END = re.compile(r"the (process is killed|power is cut|process ends)|the operator stops")
SIM = None


@dataclass
class Step:
    says: str
    unless: list = field(default_factory=list)
    where: object = None  # asked about what was found so far
    others: bool = False  # where the rest does not follow from this line, a later one may be meant


def pattern(says, found):
    def group(name):
        if name == "_":
            return r"\S+"
        return re.escape(found[name]) if name in found else f"(?P<{name}>[0-9a-fx.]+)"

    parts = re.split("<([a-z_]+)>", says)
    return re.compile("".join(group(part) if i % 2 else re.escape(part).replace(r"\*", ".*")
                              for i, part in enumerate(parts)) + "$")


def find(lines, steps, at=0, found=None):
    """Where the lines of the steps are, and what was found, or None.  Only its first line may be an end."""
    if not steps:
        return [], found
    step, found = steps[0], found or {}
    wanted = pattern(step.says, found)
    ends = [pattern(says, found) for says in step.unless]
    for i in range(at, len(lines)):
        match = wanted.match(lines[i])
        known = found | match.groupdict() if match else found
        if "first" in known:
            known["there"] = str(DATA + int(known["first"]))
        if match and (step.where is None or step.where(known)):
            later = find(lines, steps[1:], i + 1, known)
            if later is not None:
                return [i, *later[0]], later[1]
            if not step.others:
                return None
        if any(end.match(lines[i]) for end in ends) or found and END.match(lines[i]):
            return None
    return None


def find_anywhere(lines, steps):
    first = pattern(steps[0].says, {})
    tries = (find(lines, steps, i) for i, line in enumerate(lines) if first.match(line))
    return next((story for story in tries if story is not None), None)


def trace(seed):
    """What is told in one run, without the times."""
    ran = subprocess.run([SIM, "--seed", str(seed), "--ops", "600", "--trace"], capture_output=True,
                         text=True)
    if ran.returncode != 0:
        raise AssertionError(f"seed {seed} fails: {ran.stdout[-300:]}{ran.stderr[-300:]}")
    told = [line.split(maxsplit=1)[1] for line in ran.stdout.splitlines() if re.match(r" *\d+\.\d{6} ", line)]
    return [line for line in told if not re.match(r"\| (op|copy|map-write) ", line)]


def is_in(legs, leg):
    return int(legs, 16) & 1 << int(leg) != 0


ANSWERED = ["client <client>: write answered, *"]
MOVED = ["event: leg <leg> *"]
HANG = [
    Step("leg <leg> hangs (*"),
    Step("client <client>: write w<id> <first>+<n> (*", others=True),
    Step("h<handle> write leg <leg> <there>+<n>", unless=ANSWERED),
    Step("h<handle> write leg <leg>: timeout", unless=ANSWERED),
    # R1: it is durable that the leg is out before the write is answered.
    Step("| record <without>: in-sync <rest>", unless=ANSWERED,
         where=lambda found: not is_in(found["rest"], found["leg"])),
    # Told when all has been decided that follows from the timeout.
    Step("event: leg <leg> in-sync -> late (*", unless=ANSWERED),
    Step("| record <without> durable: in-sync <rest>", unless=ANSWERED),
    Step("client <client>: write answered, 0"),
    # R5: the leg gets nothing new until it has really ended what it holds.
    Step("h<handle> write leg <leg>: * late*", unless=["h<_> <_> leg <leg> <_>+<_>"]),
    # R14
    Step("event: leg <leg> late -> probing (*", unless=MOVED),
    Step("event: leg <leg> probing -> catching-up (*", unless=MOVED),
    Step("| record <whole>: in-sync <all>", unless=MOVED, others=True,
         where=lambda found: is_in(found["all"], found["leg"])),
    Step("| record <whole> durable: in-sync <all>", unless=MOVED),
    Step("event: leg <leg> catching-up -> in-sync (*", unless=MOVED),
]

READ = ["client <client>: read answered, *", "h<_> read leg <_> <there>+<n>"]
CRASH = [
    Step("the process is killed"),
    Step("start: may 1, *"),
    Step("| record <number> durable: in-sync 0x7"),
    Step("h<copy> read leg <source> <piece>+512", others=True),
    Step("h<compared> read leg <target> <piece>+512",
         where=lambda found: found["source"] != found["target"]),
    # R11: a read that comes meanwhile is asked of no leg until the copies are stable on all of them.
    Step("client <client>: read w0 <first>+<n> (*", others=True),
    Step("h<flush> flush leg <source> 0+0", unless=READ, others=True),
    Step("h<flush> flush leg <one>: ok", unless=READ),
    Step("h<flush> flush leg <two>: ok", unless=READ),
    Step("h<flush> flush leg <three>: ok", unless=READ),
    Step("h<read> read leg <from> <there>+<n>", unless=READ[:1]),
    Step("h<read> read leg <from>: ok", unless=READ[:1]),
    Step("client <client>: read answered, 0"),
]

SECTOR = [
    Step("leg <bad>: block <block> cannot be read"),
    Step("client <client>: read w0 <first>+<n> (*", others=True,
         where=lambda found: 0 <= int(found["block"]) - int(found["first"]) < int(found["n"])),
    Step("h<failed> read leg <bad> <there>+<n>", unless=READ[:1]),
    Step("h<failed> read leg <bad>: error", unless=READ[:1]),
    Step("h<good> read leg <other> <there>+<n>", unless=READ[:1]),
    Step("h<good> read leg <other>: ok", unless=READ[:1]),
    Step("h<repair> write+fua leg <bad> <there>+<n>"),
    Step("client <client>: read answered, 0"),
    Step("h<repair> write leg <bad>: ok"),
    Step("event: leg <bad>  ->  (* bytes at *: Input/output error)"),
]


class Stories(unittest.TestCase):
    def tell(self, steps, seed):
        """The lines of the first seed that has the story, its own before all others, and where it is."""
        began = time.monotonic()
        for number in [seed, *SEARCHED]:
            if time.monotonic() - began > SEARCHED_S:
                break
            lines = trace(number)
            story = find_anywhere(lines, steps) if len(lines) < LONG else None
            if story is not None:
                print(f"seed {number}:", *(lines[i] for i in story[0]), sep="\n  ", flush=True)
                return lines, *story
        self.fail(f"this story was found no more, neither in seed {seed} nor from {SEARCHED[0]} to {number}: "
                  f"{' ... '.join(step.says for step in steps)}")

    def needs_the_order(self, steps, told, early, late):
        """With the line `late` before `early` it would be no story."""
        lines, story, found = told
        says = [step.says for step in steps]
        a, b = story[says.index(early)], story[says.index(late)]
        wrong = [*lines[:a], lines[b], *lines[a:b], *lines[b + 1:]]
        self.assertIsNone(find(wrong, steps, story[0], found))

    def test_a_leg_that_hangs_leaves_before_the_answer_and_comes_back(self):
        told = self.tell(HANG, seed=169)
        self.needs_the_order(HANG, told, "| record <without> durable: in-sync <rest>",
                             "client <client>: write answered, 0")

    def test_after_a_kill_a_read_waits_for_the_legs_to_be_made_equal(self):
        told = self.tell(CRASH, seed=67)
        self.needs_the_order(CRASH, told, "h<flush> flush leg <three>: ok",
                             "h<read> read leg <from> <there>+<n>")

    def test_a_sector_that_one_leg_cannot_read_is_repaired_from_another(self):
        told = self.tell(SECTOR, seed=386)
        self.needs_the_order(SECTOR, told, "h<good> read leg <other>: ok",
                             "client <client>: read answered, 0")


if __name__ == "__main__":
    SIM = sys.argv.pop(1)
    unittest.main()
