#!/usr/bin/python3
"""The benchmark: Surefoot beside the QEMU quorum driver, nbdkit's file and null plugins, and fio straight
on the files; all in one run and in turns, so that what else the machine does meets them alike.

Prints a table, and writes results.json and stall.svg.
Exit 0: every bar that could be measured is reached.  1: one is not.  77: nothing can be measured here.
"""

import argparse
import fnmatch
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

import bars  # noqa: E402
import busy  # noqa: E402
import cost  # noqa: E402
import loads as all_loads  # noqa: E402
import machine  # noqa: E402
import places  # noqa: E402
import plot  # noqa: E402
import report  # noqa: E402
import resync  # noqa: E402
import stall  # noqa: E402
import systems  # noqa: E402
from rig import MIB, CommandFailed, Rig, TookTooLong, Unavailable  # noqa: E402

HOT = 256 * MIB
PARTS = ("speed", "busy", "stall", "resync", "cost")
NOT_HERE = 77


class Plan:
    """How much of everything.  The full run takes 20 minutes, the quick one 4."""

    def __init__(self, arguments):
        quick = arguments.quick
        self.rounds = arguments.rounds or (2 if quick else 3)
        self.seconds = arguments.seconds or (0.7 if quick else 1)
        self.cold = (1024 if quick else 4096) * MIB
        self.places = arguments.place or ["disk", "tmpfs"] + ([] if quick else ["ram", "zram"])
        self.stall = stall.Plan(quick, arguments.system)
        self.resync = resync.Plan(quick, arguments.system)
        self.busy = busy.Plan(quick, self.rounds, arguments.system)
        self.parts = arguments.part or list(PARTS)
        self.only, self.of = arguments.load, arguments.system
        self.quick = quick

    def loads(self, place):
        loads = all_loads.full()
        wanted = all_loads.QUICK if self.quick and not self.only else [load.key for load in loads]
        if place == "ram":
            wanted = all_loads.RAM_DISK
        elif place != "disk":
            wanted = all_loads.IN_MEMORY_QUICK if self.quick else all_loads.IN_MEMORY
        loads = [load for load in loads if load.key in wanted]
        if self.only:
            loads = [load for load in loads
                     if any(fnmatch.fnmatch(load.key, pattern) for pattern in self.only)]
        return loads

    def systems(self, load):
        names = [name for name in load.systems
                 if not self.quick or self.of or name in all_loads.QUICK_SYSTEMS]
        if self.of:
            names = [name for name in names if name in self.of]
        return names


def say(text=""):
    print(text, flush=True)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# ---- speed ----


def start_all(plan, rig, place, loads):
    started = {}
    for name in systems.NAMES:
        its = [load for load in loads if name in plan.systems(load)]
        if its:
            progress(f"{place.name}: preparing {systems.NAMES[name]}")
            size = plan.cold if any(load.cold for load in its) else HOT
            started[name] = systems.start(rig, place, name, size, started=started)
    return started


def one(system, load, plan):
    cpu_before = systems.process_cpu_s(system.process.pid) if system.process else 0
    began = time.monotonic()
    numbers = system.measure(load, system.size if load.cold else HOT, plan.seconds)
    if system.process:
        requests = numbers["per_s"] * plan.seconds
        cpu_s = systems.process_cpu_s(system.process.pid) - cpu_before
        numbers["server_cpu_us"] = round(cpu_s * 1e6 / requests, 2) if requests else 0
    numbers["at_s"] = round(began, 1)
    return numbers


def measure_place(plan, rig, name, notes):
    try:
        place = places.open_place(name, "/var/tmp")
    except Unavailable as reason:
        notes.append(f"{name}: not measured, {reason}")
        return {}
    rig.on_close(place.close)
    loads, found = plan.loads(name), {}
    started = start_all(plan, rig, place, loads)
    for load in loads:
        for number in range(plan.rounds):
            names = [system for system in plan.systems(load) if system in started]
            # The order turns, so that none is always the first or always behind the same one.
            names = names[number % len(names):] + names[:number % len(names)]
            for system in names:
                progress(f"{name}: {load.what}, round {number + 1} of {plan.rounds}, "
                         f"{systems.NAMES[system]}")
                found.setdefault(load.key, {}).setdefault(system, []).append(
                    one(started[system], load, plan))
    progress("")
    for system in started.values():
        system.stop()
    place.close()
    return found


# ---- the whole ----


def run(plan, rig, result):
    notes = result["notes"]
    result["machine"] = machine.describe(rig)
    say(report.machine(result["machine"]))
    if "speed" in plan.parts:
        for name in plan.places:
            found = result.setdefault("speed", {}).setdefault(name, {})
            found.update(measure_place(plan, rig, name, notes))
            say(report.speed(name, found))
    if "busy" in plan.parts:
        try:
            result["busy"] = busy.measure(plan.busy, rig, progress)
            progress("")
            say(report.busy(result["busy"]))
        except Unavailable as reason:
            notes.append(f"busy disks: not measured, {reason}")
    if "stall" in plan.parts:
        try:
            result["stall"] = stall.measure(plan.stall, rig, progress)
            progress("")
            say(report.stall(result["stall"], plan.stall))
        except Unavailable as reason:
            notes.append(f"stalls: not measured, {reason}")
    if "resync" in plan.parts:
        result["resync"] = resync.measure(plan.resync, rig, progress, notes)
        progress("")
        say(report.resync(result["resync"]))
    if "cost" in plan.parts:
        result["cost"] = cost.measure(plan, rig, progress, notes)
        progress("")
        say(report.cost(result["cost"]))
    result["bars"] = bars.judge(result)
    say(report.bars(result["bars"]))


def parse():
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="the main rows, in four minutes")
    parser.add_argument("--build", default="build", help="the build folder")
    parser.add_argument("--output", default="build/bench", help="where results.json and stall.svg go")
    parser.add_argument("--add", action="store_true",
                        help="to the results that are there: a long run in short parts")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--place", action="append", choices=["disk", "ram", "tmpfs", "zram"])
    parser.add_argument("--load", action="append", metavar="PATTERN", help="as randwrite-d32")
    parser.add_argument("--system", action="append", choices=list(systems.NAMES))
    return parser.parse_args()


def begin(arguments, output):
    earlier = output / "results.json"
    if arguments.add and earlier.exists():
        return json.loads(earlier.read_text())
    return {"notes": [], "quick": arguments.quick, "took_s": 0}


def main():
    arguments = parse()
    plan = Plan(arguments)
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)

    def end(number, frame):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    result, rig, code = begin(arguments, output), None, 1
    began = time.monotonic()
    try:
        places.check_io_uring()
        rig = Rig(arguments.build)
        run(plan, rig, result)
        code = 0 if all(bar["reached"] is not False for bar in result["bars"]) else 1
    except Unavailable as reason:
        say(f"nothing can be measured on this machine: {reason}")
        code = NOT_HERE
    except KeyboardInterrupt:
        say("stopped; cleaning up")
        code = 130
    except (AssertionError, OSError, CommandFailed, TookTooLong, subprocess.TimeoutExpired) as failure:
        say(f"FAILED: {failure}")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if rig:
            rig.close()
    result["took_s"] += round(time.monotonic() - began)
    for note in result["notes"]:
        say(f"  {note}")
    (output / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    say(f"{output}/results.json, {result['took_s']} s")
    if "stall" in result:
        (output / "stall.svg").write_text(plot.stall(result["stall"]))
        say(f"{output}/stall.svg")
    return code


if __name__ == "__main__":
    sys.exit(main())
