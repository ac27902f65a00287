"""A leg is copied anew, by itself beside a plain copy of as much, and while clients write: what they see
of it."""

import time

import fio
import places
import stall
import systems
from loads import Load
from rig import DATA_OFFSET, MIB, CommandFailed, Unavailable

SIZE = 512 * MIB
LOAD = Load("resync", "", "randwrite", depth=32)
SYSTEM = "fast-3"
FIO_BEGINS_S = 1
LONGEST_S = 120


class Plan:
    def __init__(self, quick, only=None):
        self.is_wanted = SYSTEM in (only or [SYSTEM])
        self.quiet_s, self.rounds = (2, 1) if quick else (5, 3)


def leg(rig, volume, what):
    rig.ctl("--control", volume.control, "leg", what, volume.name, "c")


def is_discarded(rig, volume):
    """Not before the leg's own requests have ended."""
    try:
        leg(rig, volume, "discard")
    except CommandFailed:
        return False
    return True


def copy_anew(rig, volume):
    """When it began, and when the leg was in sync again; by the clock of fio's log."""
    leg(rig, volume, "fail")
    rig.wait_until(lambda: is_discarded(rig, volume), "leg discard")
    began = time.time()
    leg(rig, volume, "return")
    volume.wait_for(lambda status: volume.leg("c", status)["state"] == "in-sync", "leg c", LONGEST_S)
    return began, time.time()


def alone(rig, volume):
    began, ended = copy_anew(rig, volume)
    source, target = volume.legs[0].path, volume.legs[0].path.with_name("copy")
    dd_began = time.time()
    rig.run("dd", f"if={source}", f"of={target}", "bs=1M", f"count={(DATA_OFFSET + SIZE) // MIB}",
            "iflag=direct", "oflag=direct", "conv=fsync", seconds=LONGEST_S)
    plain = time.time() - dd_began
    target.unlink()
    return {"mib_per_s": SIZE / MIB / (ended - began), "copy_mib_per_s": SIZE / MIB / plain}


def beside_clients(plan, rig, system):
    log = rig.folder / "resync"
    seconds = FIO_BEGINS_S + plan.quiet_s + LONGEST_S
    process = rig.spawn(system.command(LOAD, SIZE, seconds, f"--write_lat_log={log}", "--log_unix_epoch=1",
                                       "--disable_slat=1", "--disable_clat=1", "--output-format=json",
                                       f"--output={log}.json"))
    time.sleep(FIO_BEGINS_S)
    quiet = time.time()
    time.sleep(plan.quiet_s)
    began, ended = copy_anew(rig, system.volume)
    code = process.poll()
    if code is not None:
        raise AssertionError(f"fio ended ({code}) before the copy beside it did\n{rig.processes_log()}")
    rig.reap(process, 15)
    writes = fio.read_log(rig.folder / "resync_lat.1.log")
    return {"quiet": stall.phase(writes, quiet, began, lambda start, at: quiet <= start and at < began),
            "beside": stall.phase(writes, began, ended, lambda start, at: start < ended and at >= began)}


def measure(plan, rig, progress, notes):
    if not plan.is_wanted:
        return {}
    try:
        place = places.open_place("disk", "/var/tmp")
    except Unavailable as reason:
        notes.append(f"resync: not measured, {reason}")
        return {}
    rig.on_close(place.close)
    progress("resync: a leg is copied anew")
    system = systems.start(rig, place, SYSTEM, SIZE)
    found = {"alone": alone(rig, system.volume), "rounds": []}
    for number in range(plan.rounds):
        progress(f"resync: a leg is copied anew while clients write, round {number + 1} of {plan.rounds}")
        found["rounds"].append(beside_clients(plan, rig, system))
    system.stop()
    place.close()
    return found
