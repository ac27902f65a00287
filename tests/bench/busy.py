"""Whether a busy disk keeps its place, and what that costs: a bulk copy to disks of some 300 MB/s, and random
writes to disks of 6 ms a request (7 200 rpm), against what the same disks give by themselves.

A disk of so many bytes a second is a device in memory that the kernel paces; where that cannot be had, a file behind
FUSE, with servers that take the processors that the mirror needs.  A disk that answers one request at a time after a fixed
delay is a file behind FUSE.  A mirror cannot be faster than its slowest copy, so the bar is the slowest of the disks when all of them
are asked at once.
"""

import time
from dataclasses import dataclass

import fio
import places
import systems
from loads import Load
from rig import DATA_OFFSET, MIB, Rig, Unavailable

SIZE = 256 * MIB
SAMPLE_S = 0.2
CHEAP = ("--zero_buffers",)  # a device in memory keeps zeroes without compressing them
LEGS = 2
DEADLINES = {name: "auto" for name in ("read_deadline", "write_deadline", "flush_deadline")}


@dataclass(frozen=True)
class Case:
    load: Load
    filters: tuple
    parameters: tuple
    bytes_per_s: int = 0


CASES = (
    Case(Load("bulk", "1 MiB sequential write, depth 64, disks of 300 MB/s", "write", block="1m", depth=64),
         filters=(), parameters=("rate=2400M", "burstiness=0.05"), bytes_per_s=300_000_000),
    Case(Load("seek", "4 KiB random write, depth 64, disks of 6 ms", "randwrite", block="4k", depth=64),
         filters=("noparallel", "delay"), parameters=("serialize=all-requests", "rdelay=6ms", "wdelay=6ms")),
)


class Plan:
    def __init__(self, quick, rounds, only=None):
        self.rounds = rounds
        self.seconds = 3 if quick else 8
        self.mirrors = [name for name in ("fast-2", "surefoot-2", "quorum-2") if not only or name in only]


def paced(rig, case):
    """A place of disks that the kernel paces, or None."""
    if not case.bytes_per_s:
        return None
    try:
        place = places.PacedDisks("paced", case.bytes_per_s)
    except Unavailable:
        return None
    rig.on_close(place.close)
    return place


def disk(rig, name, case, place):
    if place:
        return systems.Leg(name, place.make(DATA_OFFSET + SIZE))
    leg = systems.FuseLeg(rig, name, filters=case.filters, parameters=case.parameters)
    leg.prepare(SIZE)
    return leg


def start(rig, name, case, place, started):
    if name == "surefoot-2" and "fast-2" in started:
        return systems.OtherDoor(started["fast-2"], name)
    legs = [disk(rig, f"{name}-{letter}", case, place) for letter in "abcdefgh"[:LEGS]]
    if name == "alone":
        return Alone(rig, legs)
    if name in ("fast-2", "surefoot-2"):
        door = "fast" if name == "fast-2" else "nbdkit"
        return systems.Surefoot(rig, name, legs, SIZE, door=door, **DEADLINES)
    return systems.QemuNbd(rig, name, [leg.path for leg in legs], SIZE, DATA_OFFSET)


class Alone(systems.System):
    """fio on each disk at once, with nothing between."""

    over_nbd = False

    def __init__(self, rig, legs):
        super().__init__(rig, "alone", SIZE)
        self.legs = legs

    def slowest(self, load, seconds):
        reports = [self.rig.folder / f"{leg.name}.json" for leg in self.legs]
        processes = [self.rig.spawn([*fio.straight([leg.path], load, SIZE, seconds), *CHEAP, f"--offset={DATA_OFFSET}",
                                     "--output-format=json", f"--output={report}"])
                     for leg, report in zip(self.legs, reports)]
        for process in processes:
            await_fio(self.rig, process, seconds)
        return min((fio.read_report(report) for report in reports), key=lambda found: found["per_s"])


def await_fio(rig, process, seconds, meanwhile=None):
    ends = time.monotonic() + seconds + 60
    while process.poll() is None:
        if time.monotonic() > ends:
            raise AssertionError(f"fio does not end\n{rig.processes_log()}")
        if meanwhile:
            meanwhile()
        time.sleep(SAMPLE_S)
    if process.returncode != 0:
        raise AssertionError(f"fio: exit {process.returncode}\n{rig.processes_log()}")


def mirror(rig, system, load, seconds):
    """Its pace and, of a mirror that can say so, in how many samples all its copies were in sync."""
    report, samples = rig.folder / f"{system.name}.json", []

    def sample():
        if hasattr(system, "volume"):
            samples.append(system.volume.status()["legs_in_sync"] == LEGS)

    process = rig.spawn(system.command(load, SIZE, seconds, *CHEAP, "--output-format=json", f"--output={report}"))
    await_fio(rig, process, seconds, sample)
    return {**fio.read_report(report), "samples": len(samples), "whole": sum(samples)}


def measure_case(case, plan, rig, progress):
    place = paced(rig, case)
    found = {"what": case.load.what, "disks": "paced by the kernel" if place else "behind FUSE"}
    started = {}
    for name in ("alone", *plan.mirrors):
        started[name] = start(rig, name, case, place, started)
    for number in range(plan.rounds):
        for name, system in started.items():
            progress(f"busy: {case.load.what}, round {number + 1} of {plan.rounds}, {name}")
            its = (system.slowest(case.load, plan.seconds) if name == "alone"
                   else mirror(rig, system, case.load, plan.seconds))
            found.setdefault(name, []).append(its)
    for system in reversed(started.values()):
        system.stop()
    return found


def measure(plan, rig, progress):
    found = {}
    for case in CASES:
        own = Rig(rig.surefootctl.parent.parent)
        rig.on_close(own.close)
        try:
            found[case.load.key] = measure_case(case, plan, own, progress)
        finally:
            own.close()
    return found
