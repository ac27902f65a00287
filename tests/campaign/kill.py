"""Kills the serving process again and again, under verified load and with legs that freeze, vanish and
come back, and asks after each kill: does the start decide as R12 does, and is everything there that was
answered?

Every run has a seed; what it draws is the same for the same seed, though the machine's timing is not.
"""

import argparse
import contextlib
import fcntl
import os
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

import r12
from register import BLOCK, Registers
from rig import MIB, CommandFailed, FileLeg, FuseLeg, Rig, TookTooLong
from stamped import Load

SIZE = 32 * MIB
KILLS_PER_VOLUME = 8
PATIENCE_S = 60

# legs, how many of them can freeze, min_legs
SHAPES = [(3, 1, 2), (3, 2, 2), (3, 3, 2), (2, 1, 1), (2, 2, 1), (3, 1, 1), (4, 2, 3), (4, 1, 2), (5, 2, 3)]


class Wrong(Exception):
    """The product broke a promise."""


class Count:
    def __init__(self):
        self.kills = self.stops = self.allowed = self.refused = 0
        self.writes = self.reads = self.failed = self.frozen = self.without = 0
        self.blocks = self.hung = 0

    def __str__(self):
        return (f"{self.kills} kills, {self.stops} clean stops, {self.frozen} with a leg frozen, "
                f"{self.hung} that ended only when it thawed; "
                f"{self.allowed} starts allowed, {self.without} of them without a leg, {self.refused} "
                f"refused; {self.writes} writes and {self.reads} reads answered, {self.failed} failed; "
                f"{self.blocks} blocks read back")


class Member:
    """One leg of the volume, and what the campaign did to it."""

    def __init__(self, leg):
        self.leg = leg
        self.frozen = self.away = False

    @property
    def can_freeze(self):
        return isinstance(self.leg, FuseLeg)

    @property
    def present(self):
        return not self.frozen and not self.away

    @property
    def image(self):
        """Where its bytes are, whatever was done to it."""
        path = Path(self.leg.image)
        return path.with_suffix(".away") if self.away else path

    def freeze(self):
        self.leg.freeze()
        self.frozen = True

    def go_away(self):
        self.leg.path.rename(self.leg.path.with_suffix(".away"))
        self.away = True

    def come_back(self):
        if self.frozen:
            self.leg.thaw()
        if self.away:
            self.leg.path.with_suffix(".away").rename(self.leg.path)
        self.frozen = self.away = False

    def is_locked(self):
        """By the dead: the kernel keeps the lock until their last request has ended (R7)."""
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fd = os.open(self.leg.path, os.O_RDONLY)
        try:
            F_OFD_GETLK = 36
            (kind,) = struct.unpack_from("h", fcntl.fcntl(fd, F_OFD_GETLK, asked))
        finally:
            os.close(fd)
        return kind != fcntl.F_UNLCK


class Life:
    """One volume from its making to the comparison of its healed legs."""

    def __init__(self, rig, seed, count, tell):
        self.rig, self.count, self.tell = rig, count, tell
        self.random = random.Random(seed)
        legs, freezable, min_legs = self.random.choice(SHAPES)
        self.members = [Member(FuseLeg(rig, name) if i < freezable else FileLeg(rig, name))
                        for i, name in enumerate("abcde"[:legs])]
        deadline = self.random.choice(["100ms", "200ms"])
        self.volume = rig.volume(
            [member.leg for member in self.members], SIZE, min_legs=min_legs,
            write_deadline=deadline, read_deadline=deadline, flush_deadline="300ms",
            fail_timeout=self.random.choice(["1s", "3s"]),
            on_too_few=self.random.choice(["error", "suspend"]),
            intent_delay=self.random.choice(["10ms", "200ms", "2s"]),
            hot_extents=self.random.choice(["1", "8", "8192"]),
            resync_max_rate=self.random.choice(["0", "16M"])).create()
        self.registers = Registers(SIZE // BLOCK)
        self.server = None
        self.tell(f"volume of {legs} legs, {freezable} can freeze, min_legs {min_legs}: "
                  + " ".join(f"{k}={v}" for k, v in self.volume.settings.items() if k not in
                             ("name", "control")))

    # -- what happens while it serves --

    def trouble(self):
        """Something happens to a leg of the running volume."""
        member = self.random.choice(self.members)
        action = self.random.choice(["freeze", "freeze", "thaw", "fail", "return"])
        if action == "freeze" and member.can_freeze and not member.frozen:
            self.tell(f"freeze {member.leg.name}")
            member.freeze()
        elif action == "thaw" and member.frozen:
            self.tell(f"thaw {member.leg.name}")
            member.come_back()
        elif action in ("fail", "return"):
            # Refused when it cannot be: that is an answer too.
            with contextlib.suppress(CommandFailed, subprocess.TimeoutExpired):
                self.rig.ctl("--control", self.volume.control, "leg", action, "vol0",
                             member.leg.name)
                self.tell(f"leg {action} {member.leg.name}")

    def live(self):
        """Load and trouble, until the end, which is a kill more often than not."""
        if self.random.random() < 0.4:
            self.heal()  # else a leg may stay behind from life to life
        load = Load(self.server, self.registers, self.random.randrange(1 << 30))
        for _ in range(self.random.randint(0, 4)):
            time.sleep(self.random.uniform(0.02, 0.4))
            self.trouble()
        time.sleep(self.random.uniform(0.02, 0.5))
        kill = self.random.random() < 0.85
        if not kill and any(member.frozen for member in self.members):
            self.all_back()  # else there may be no clean stop
        if not kill:
            load.join()
            self.server.stop()
            self.count.stops += 1
        else:
            self.count.kills += 1
            self.count.frozen += any(member.frozen for member in self.members)
            self.kill()
            load.join()
        self.tell("killed" if kill else "stopped")
        self.registers.end_all()
        self.server.disconnect()
        self.server = None
        self.count.writes += load.answered("write") + load.answered("zero")
        self.count.reads += load.answered("read")
        self.count.failed += load.failed
        if load.wrong:
            raise Wrong("read under load: " + "; ".join(load.wrong[:5]))

    def kill(self):
        self.server.process.kill()
        self.end_of_process()

    def end_of_process(self):
        try:
            self.server.process.wait(5)
        except subprocess.TimeoutExpired:
            self.tell("its end hangs on a leg: " + self.where_it_hangs())
            self.count.hung += 1
            for member in self.members:
                if member.frozen:
                    member.come_back()
            self.server.process.wait(PATIENCE_S)

    def where_it_hangs(self):
        found = []
        for task in Path(f"/proc/{self.server.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                stack = [line.split()[-1].split("+")[0]
                         for line in (task / "stack").read_text().splitlines()]
                found.append(f"{(task / 'comm').read_text().strip()}: {' '.join(stack)}")
        return "; ".join(found)

    # -- between an end and a start --

    def all_back(self):
        for member in self.members:
            member.come_back()

    def mix_up(self):
        """A subset of the legs for the next start."""
        for member in self.members:
            if not member.present and self.random.random() < 0.6:
                member.come_back()
            if member.present and self.random.random() < 0.3:
                if member.can_freeze:
                    # A start waits five seconds for one that hangs: not too often.
                    if self.random.random() < 0.25:
                        member.freeze()
                else:
                    member.go_away()

    def wait_until_unlocked(self):
        for member in self.members:
            if member.present:
                self.rig.wait_until(lambda: not member.is_locked(),
                                    f"leg {member.leg.name} is let go", seconds=PATIENCE_S)

    def legs_present(self):
        legs = [r12.read_leg(self.rig.ctl("dump", "--json", member.image))
                for member in self.members if member.present]
        return [leg for leg in legs if leg]

    def start(self):
        """True: it serves.  Whatever it does, it must be what R12 says."""
        self.wait_until_unlocked()
        legs = self.legs_present()
        expected = r12.may_start(legs)
        told = " | ".join(map(str, legs)) or "no leg"
        self.tell(f"start with {told}: expected {'to serve' if expected else 'a refusal'}")
        self.server = self.volume.launch(threads=32)
        served = self.wait_for_its_word()
        if served != bool(expected):
            raise Wrong(f"{'started' if served else 'refused'} although R12 says otherwise: {told}\n"
                        f"{self.server.log()}")
        if not served:
            self.count.refused += 1
            self.end_of_process()
            return False
        self.count.allowed += 1
        self.count.without += any(not member.present for member in self.members)
        return True

    def wait_for_its_word(self):
        """True: it serves; False: it said that it will not."""
        said = len(self.server.log())

        def refused():
            return self.server.process.poll() is not None or "nbdkit: error:" in self.server.log()[
                said:]

        self.rig.wait_until(lambda: refused() or self.server.answers(), "a word of the start",
                            seconds=PATIENCE_S)
        return not refused()

    def start_somehow(self):
        """From a subset, then with more and more legs until it may."""
        self.mix_up()
        while True:
            all_there = all(member.present for member in self.members)
            if self.start():
                return
            if all_there:
                raise Wrong("refused with every leg present")
            missing = [member for member in self.members if not member.present]
            if not missing:
                continue
            back = self.random.choice(missing)
            self.tell(f"{back.leg.name} comes back")
            back.come_back()

    # -- is all there? --

    def read_back(self):
        """Every block, while no client writes.  What is read now stays."""
        handle = self.server.connect()
        step = 128
        wrong = []
        for first in range(0, len(self.registers), step):
            data = bytes(handle.pread(step * BLOCK, first * BLOCK))
            for i in range(step):
                piece = data[i * BLOCK:(i + 1) * BLOCK]
                if not self.registers.pin(first + i, piece):
                    wrong.append(self.registers.describe(first + i, piece))
        handle.shutdown()
        self.server.handles.remove(handle)
        self.count.blocks += len(self.registers)
        if wrong:
            raise Wrong(f"{len(wrong)} blocks do not hold what they must: {'; '.join(wrong[:5])}")

    def heal(self):
        self.all_back()
        for member in self.members:
            with contextlib.suppress(CommandFailed):
                self.rig.ctl("--control", self.volume.control, "leg", "return", "vol0",
                             member.leg.name)
        self.volume.wait_for(self._is_healthy, "every leg in sync", PATIENCE_S)

    def _is_healthy(self, status):
        for leg in status["legs"]:
            if leg["state"] == "faulty":
                with contextlib.suppress(CommandFailed):
                    self.rig.ctl("--control", self.volume.control, "leg", "return", "vol0",
                                 leg["name"])
        return (status["state"] == "healthy" and status["unconverged_bytes"] == 0
                and all(leg["state"] == "in-sync" for leg in status["legs"]))

    def finish(self):
        self.heal()
        self.read_back()
        self.server.stop()
        try:
            self.volume.assert_legs_equal()
        except AssertionError as difference:
            raise Wrong(str(difference)) from None

    def run(self, kills):
        end = self.count.kills + kills
        self.start_somehow()
        while True:
            self.live()
            self.start_somehow()
            self.read_back()
            if self.random.random() < 0.3:
                # Converged and caught up as far as it can be: still the same.
                time.sleep(self.random.uniform(0, 0.5))
                self.read_back()
            if self.count.kills >= end:
                break
        self.finish()


def keep(rig, folder):
    """What is needed to find out why: logs and the legs' metadata."""
    print(f"kept: {rig.folder}")
    rig.close_without_removing()
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}")
        print("\n".join(log.read_text(errors="replace").splitlines()[-60:]))


def run_life(arguments, seed, kills, count):
    rig = Rig(arguments.build)
    story = []

    def tell(text):
        story.append(f"{time.monotonic() - begun:8.3f} {text}")
        if arguments.verbose:
            print(story[-1], flush=True)

    begun = time.monotonic()
    try:
        Life(rig, seed, count, tell).run(kills)
    except Exception as failure:
        print(f"FAILED with seed {seed}: {type(failure).__name__}: {failure}")
        print("\n".join(story))
        keep(rig, rig.folder)
        return False
    rig.close()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "little"))
    parser.add_argument("--seconds", type=float, help="begin no volume after so many")
    parser.add_argument("--build", default=os.environ.get("SUREFOOT_BUILD"))
    parser.add_argument("--verbose", action="store_true", help="tell what happens as it does")
    arguments = parser.parse_args()
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        print("/dev/fuse is not there: no leg can be frozen")
        return 77

    count, begun, seed, failed = Count(), time.monotonic(), arguments.seed, 0
    print(f"seed {seed}")
    while count.kills < arguments.kills:
        if arguments.seconds and time.monotonic() - begun > arguments.seconds:
            break
        if not run_life(arguments, seed, min(KILLS_PER_VOLUME, arguments.kills - count.kills), count):
            failed += 1
            break
        seed += 1
    print(f"{count}, in {time.monotonic() - begun:.0f} s")
    print("FAILED" if failed else "nothing lost, every start as R12 says")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
