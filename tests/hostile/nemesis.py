"""What happens to the disks, the server, its threads and its clients: drawn from a seed."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from rig import DATA_OFFSET, CommandFailed, TookTooLong
from starve import starved

NOTICED_S = 20
CALM_S = 5

ACTIONS = {
    # of one disk
    "hang": 8, "slow": 5, "fail": 5, "bad-sectors": 5, "flush-fails": 8, "gone": 4, "unplug": 4,
    "power-cut": 4, "heal": 12,
    # of all of them
    "calm": 5, "all-hang": 2, "all-unplug": 2, "all-gone": 1,
    # of the server and its clients
    "vanish": 12, "kill": 3, "kill-and-power-cut": 3, "starve": 5, "starve-thread": 5, "fed": 6,
    "kill-submitter": 3, "set": 5, "operator": 4,
}
SETTINGS = {
    "write_deadline": ("50ms", "100ms", "300ms"), "read_deadline": ("50ms", "100ms", "300ms"),
    "flush_deadline": ("100ms", "300ms"), "fail_timeout": ("3s", "5s"),
    "on_too_few": ("error", "suspend"), "intent_delay": ("10ms", "200ms", "2s"),
    "hot_extents": ("1", "4", "8192"), "resync_max_rate": ("0", "8M"),
}
KINDS = ("read", "write", "flush", "all")
# Not an action, but can be left out like one: errors of legs that the volume cannot do without.
UNSPARED_ERRORS = "unspared-errors"


class Nemesis:
    def __init__(self, world, draw, without):
        self.world, self.draw = world, draw
        self.troubled = set()  # legs that are not left in peace
        # Those that have not been since all of them were in sync: they may have to catch up.
        self.touched = set()
        self.hungry = None
        self.unspared_errors = UNSPARED_ERRORS not in without
        names = [name for name in ACTIONS if name not in without]
        self.names, self.weights = names, [ACTIONS[name] for name in names]
        self.counts = dict.fromkeys(names, 0)

    def act(self):
        name = self.draw.choices(self.names, self.weights)[0]
        done = getattr(self, "_" + name.replace("-", "_"))()
        self.touched |= self.troubled
        if done is None:
            return
        self.counts[name] += 1
        self.world.tell(f"{name} {done}".rstrip())

    def end(self):
        """Of all that can be ended."""
        self._fed()
        for leg in self.world.legs:
            self._heal_leg(leg)

    # -- one disk --

    def _leg(self):
        return self.draw.choice(self.world.legs)

    def _heal_leg(self, leg):
        leg.plug_in()
        leg.heal()
        self.troubled.discard(leg)

    def _heal(self):
        if not self.troubled:
            return None
        leg = self.draw.choice(sorted(self.troubled, key=lambda leg: leg.name))
        self._heal_leg(leg)
        return leg.name

    def _order(self, *words):
        leg = self._leg()
        if not leg.plugged:
            return None
        self.troubled.add(leg)
        leg.order(*words)
        return f"{leg.name} {' '.join(map(str, words[1:]))}"

    def _hang(self):
        return self._order("hang", self.draw.choice(KINDS))

    def _slow(self):
        return self._order("slow", self.draw.choice(KINDS), self.draw.choice((5, 30, 150)))

    def _fail(self):
        return self._error(self._leg(), "fail", self.draw.choice(KINDS))

    def _gone(self):
        return self._error(self._leg(), "gone")

    def _is_spared(self, leg):
        """The others can do without it, and will have to do with nothing else meanwhile.  Not while extents are
        made equal after a kill: copied from a leg that drops what it held, all may lack it (R9)."""
        in_sync = self.world.in_sync(even=True)
        return (in_sync is not None and leg.name in in_sync and not self.hungry
                and len(in_sync) > self.world.min_legs and not self.troubled)

    def _error(self, leg, *words):
        if not leg.plugged:
            return None
        if not self.unspared_errors and not self._is_spared(leg):
            return None
        self.troubled.add(leg)
        leg.order(*words)
        if not self.unspared_errors and words[-1] != "read":
            self.world.wait_until_out(leg, NOTICED_S)
        return f"{leg.name} {' '.join(words[1:])}"

    def _bad_sectors(self):
        """Where the clients are, and on one leg alone."""
        leg = self.draw.choice(self.world.legs)
        if not leg.plugged or self.troubled - {leg}:
            return None
        self.troubled.add(leg)
        for slot in self.draw.sample(self.world.slots, 8):
            leg.order("bad", DATA_OFFSET + (slot.first + self.draw.randrange(32)) * 512, 512)
        return leg.name

    def _unplug(self):
        leg = self._leg()
        if not leg.can_unplug() or not leg.plugged:
            return None
        if not self.unspared_errors and not self._is_spared(leg):
            return None
        self.troubled.add(leg)
        leg.unplug()
        if not self.unspared_errors:
            self.world.wait_until_out(leg, NOTICED_S)
        return leg.name

    # -- what costs a disk its cache --

    def _lossy(self, leg, fault, after):
        """No answer may depend on this leg alone; or else what is not flushed may be lost."""
        world = self.world
        if self.hungry or not leg.plugged or leg in self.troubled:
            return None
        spared = self._is_spared(leg)
        if not spared and not (world.storm and self.unspared_errors):
            return None
        if not spared:
            world.begin_loss()
        self.troubled.add(leg)
        fault()
        if spared:
            world.wait_until_out(leg, NOTICED_S)
        after()
        return f"{leg.name}{'' if spared else ', which cannot be spared'}"

    def _flush_fails(self):
        leg = self._leg()
        # Only what was noticed is lost: the error comes before the old content.
        return self._lossy(leg, lambda: leg.order("fail-flush"), lambda: leg.order("drop"))

    def _power_cut(self):
        leg = self._leg()
        if leg.can_unplug() and self.draw.random() < 0.5:
            return self._lossy(leg, leg.cut_power, lambda: None)
        return self._lossy(leg, lambda: leg.order("gone"),
                           lambda: leg.order("lose", self.draw.choice((30, 70, 100))))

    # -- all disks --

    def _calm(self):
        """Until every leg is in sync again, so that the next trouble meets a whole volume."""
        self.end()
        whole = len(self.world.legs)
        with contextlib.suppress(TookTooLong):
            self.world.rig.wait_until(lambda: len(self.world.in_sync() or ()) == whole,
                                      "every leg in sync", seconds=CALM_S)
            self.world.settle_losses()
            self.touched = set()
        return ""

    def _all_hang(self):
        kind = self.draw.choice(KINDS)
        for leg in self.world.legs:
            if leg.plugged:
                self.troubled.add(leg)
                leg.order("hang", kind)
        return kind

    def _all_gone(self):
        if not self.unspared_errors:
            return None
        for leg in self.world.legs:
            if leg.plugged:
                self.troubled.add(leg)
                leg.order("gone")
        return ""

    def _all_unplug(self):
        if not self.unspared_errors:
            return None
        legs = [leg for leg in self.world.legs if leg.can_unplug() and leg.plugged]
        for leg in legs:
            self.troubled.add(leg)
            leg.unplug()
        return " ".join(leg.name for leg in legs) if legs else None

    # -- clients and the server --

    def _vanish(self):
        gone = [client for client in self.world.clients if self.draw.random() < 0.6]
        for client in gone:
            client.vanish(self.draw.choice((0, 0, 0.05, 0.5)))
        return " ".join(str(client.number) for client in gone) if gone else None

    def _kill(self):
        self._fed()
        self._take_all_for_touched()
        self.world.kill()
        if self.draw.random() < 0.5:
            self.end()
        self.world.start_again()
        return ""

    def _kill_and_power_cut(self):
        """The power of everything."""
        self._fed()
        self._take_all_for_touched()
        self.world.kill()
        self.world.lose_caches(self.draw)
        self.end()
        self.world.start_again()
        return ""

    def _take_all_for_touched(self):
        self.touched = set(self.world.legs)

    def _starve(self):
        if self.hungry:
            return None
        self._take_all_for_touched()
        self.hungry = starved(2)
        for thread in self.world.threads():
            with contextlib.suppress(OSError):  # it has ended
                self.hungry.take(thread)
        return ""

    def _starve_thread(self):
        if self.hungry:
            return None
        threads = self.world.threads()
        some = self.draw.sample(threads, min(len(threads), self.draw.choice((1, 3, 8))))
        self._take_all_for_touched()
        self.hungry = starved(2)
        for thread in some:
            with contextlib.suppress(OSError):
                self.hungry.take(thread)
        return f"{len(some)} of {len(threads)}"

    def _fed(self):
        if not self.hungry:
            return None
        self.hungry.close()
        self.hungry = None
        return ""

    def _kill_submitter(self):
        victims = submitters(self.world.server.process.pid)
        if not victims:
            return None
        pid, name = self.draw.choice(victims)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return name

    def _set(self):
        key = self.draw.choice(sorted(SETTINGS))
        value = self.draw.choice(SETTINGS[key])
        return self._ctl("set", f"{key}={value}")

    def _operator(self):
        leg = self._leg()
        self.touched.add(leg)
        return self._ctl("leg", self.draw.choice(("fail", "return")), leg.name)

    def _ctl(self, command, *words):
        volume = self.world.volume
        where = [command, volume.name, *words]
        if command == "leg":
            where = [command, words[0], volume.name, *words[1:]]
        try:
            self.world.rig.ctl("--control", volume.control, *where, seconds=10)
        except CommandFailed:
            return " ".join(words) + ": refused"  # that is an answer too
        except subprocess.TimeoutExpired:
            return " ".join(words) + ": no answer"
        return " ".join(words)


def submitters(pid):
    """Processes that the server made: (pid, name), in the order of the pids."""
    found, look = [], [pid]
    while look:
        for task in Path(f"/proc/{look.pop()}/task").glob("*"):
            with contextlib.suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    found.append((child, Path(f"/proc/{child}/comm").read_text().strip()))
                    look.append(child)
    return sorted(found)
