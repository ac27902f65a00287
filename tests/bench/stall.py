"""What a client sees when one copy is slow, stands still for ten seconds, and comes back.

The last leg (or child) of every mirror is a file behind FUSE, whose server is stopped with SIGSTOP or
delays each request by 20 ms.  fio writes as fast as it can and logs every request; beside it one
client writes a little and flushes, again and again.
"""

import sys
import time
from pathlib import Path

import fio
import systems
from loads import Load
from rig import DATA_OFFSET, MIB, FileLeg, Rig, monotonic_deadline

SIZE = 256 * MIB
DEPTH = 16
SLOW_MS = 20
DEADLINE_MS = 100
BUCKET_S = 0.1
WRITES = Load("stall", "", "randwrite", depth=DEPTH)
READS = Load("stall-read", "", "randread", depth=DEPTH)
FLUSHER = Path(__file__).parent / "flusher.py"


class Plan:
    def __init__(self, quick, only=None):
        self.mirrors = [name for name in ("fast-3", "surefoot-2", "quorum-3", "quorum-2")
                        if (name in only if only else not quick or name.endswith("3"))]
        # A leg has to be seen well for 1.5 times as long as it was away, 7.5 s at most, before it is copied anew (R14).
        self.well_s, self.frozen_s, self.back_s = (1.5, 3, 12) if quick else (5, 10, 25)
        self.slow_s = 1.5 if quick else 4


def build(rig, name, *parameters):
    kind, _, count = name.partition("-")
    plain = [FileLeg(rig, chr(ord("a") + i)) for i in range(int(count) - 1)]
    odd = systems.FuseLeg(rig, "z", filters=["delay"] if parameters else [], parameters=parameters)
    if kind in ("surefoot", "fast"):
        system = systems.Surefoot(rig, name, [*plain, odd], SIZE, write_deadline=f"{DEADLINE_MS}ms",
                                  door="fast" if kind == "fast" else "nbdkit")
    else:
        for leg in (*plain, odd):
            leg.prepare(SIZE)
        for leg in plain:
            with open(leg.path, "wb") as file:
                file.truncate(DATA_OFFSET + SIZE)
        system = systems.QemuNbd(rig, name, [leg.path for leg in (*plain, odd)], SIZE, DATA_OFFSET)
    return system, odd


def start_flusher(rig, system, name, seconds):
    return rig.spawn([sys.executable, FLUSHER, system.uri, str(SIZE), str(seconds),
                      rig.folder / f"{name}.flushes"])


def read_flushes(rig, name):
    return [tuple(map(float, line.split()))
            for line in (rig.folder / f"{name}.flushes").read_text().splitlines()]


def load(rig, system, name, seconds):
    command = system.command(WRITES, SIZE, seconds, f"--write_lat_log={rig.folder}/{name}",
                             "--log_unix_epoch=1", "--disable_slat=1", "--disable_clat=1",
                             "--output-format=json", f"--output={rig.folder}/{name}.json")
    flusher = start_flusher(rig, system, name, seconds)
    return rig.spawn(command), flusher


def finish(rig, name, process, flusher, seconds):
    for ends in (process, flusher):
        code = ends.wait(seconds + 60)
        if code != 0:
            raise AssertionError(f"{ends.args[0]}: exit {code}\n{rig.processes_log()}")
    return fio.read_log(rig.folder / f"{name}_lat.1.log"), read_flushes(rig, name)


def percentiles(latencies):
    latencies = sorted(latencies)

    def at(part):
        return round(latencies[min(len(latencies) - 1, int(len(latencies) * part))], 2)

    return {"p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999),
            "max_ms": round(latencies[-1], 2)}


def phase(operations, since, until, keep):
    """Of the operations that `keep` says belong here; the pace is that of those which ended here."""
    ended = sum(1 for at, _ in operations if since <= at < until)
    kept = [latency for at, latency in operations if keep(at - latency / 1000, at)]
    found = {"seconds": round(until - since, 1), "per_s": round(ended / max(until - since, 1e-9))}
    return {**found, **percentiles(kept)} if kept else found


def split(operations, began, froze, thawed, back):
    """A request that was under way at any time of the freeze belongs to the freeze."""
    return {
        "well": phase(operations, began, froze, lambda start, at: at < froze),
        "frozen": phase(operations, froze, thawed, lambda start, at: start < thawed and at >= froze),
        "back": phase(operations, thawed, back, lambda start, at: thawed <= start < back),
    }


def timeline(operations, began, until):
    """Of each tenth of a second: how many ended in it, and how long the one had waited that waited
    longest, whether it ended in it or not."""
    buckets = int((until - began) / BUCKET_S)
    count, worst = [0] * buckets, [0.0] * buckets
    for at, latency in operations:
        start = at - latency / 1000
        last = int((at - began) / BUCKET_S)
        if 0 <= last < buckets:
            count[last] += 1
        for bucket in range(max(0, int((start - began) / BUCKET_S)), min(last, buckets - 1) + 1):
            waited = min(at, began + (bucket + 1) * BUCKET_S) - start
            worst[bucket] = max(worst[bucket], waited * 1000)
    return {"bucket_s": BUCKET_S, "per_s": [round(n / BUCKET_S) for n in count],
            "worst_ms": [round(ms, 2) for ms in worst]}


def wait_back(system, until):
    """When the mirror is whole again, if it can say so, and it is before `until`; and whether it is."""
    left = monotonic_deadline(until - time.time())
    if not isinstance(system, systems.Surefoot):
        time.sleep(max(0, left()))
        return until, None
    with system.volume.follow() as events:
        while system.volume.status()["state"] != "healthy":
            if left() <= 0:
                return until, False
            events.next(min(left(), 0.1))
    return time.time(), True


def freeze(plan, rig, name):
    system, odd = build(rig, name)
    system.write_out()
    calm = system.measure(READS, SIZE, plan.slow_s)
    seconds = plan.well_s + plan.frozen_s + plan.back_s + 1
    process, flusher = load(rig, system, name, seconds)
    time.sleep(1)  # fio's own start is not the mirror's doing
    began = time.time()
    time.sleep(plan.well_s)
    froze = time.time()
    odd.freeze()
    time.sleep(plan.frozen_s)
    thawed = time.time()
    odd.thaw()
    back, whole = wait_back(system, thawed + plan.back_s)
    writes, flushes = finish(rig, name, process, flusher, seconds)
    memory = systems.process_memory(system.process.pid, "VmHWM")
    system.stop()
    end = began + plan.well_s + plan.frozen_s + plan.back_s
    return {
        "writes": split(writes, began, froze, thawed, back),
        "flushes": split(flushes, began, froze, thawed, back),
        "back_after_s": round(back - thawed, 1),
        "whole": whole,
        "marks_s": [round(at - began, 2) for at in (froze, thawed, back)],
        "timeline": timeline(writes, began, end),
        "memory_peak_mib": round(memory / MIB),
        "reads_well": calm["read"],
    }


def slow(plan, rig, name):
    system, _ = build(rig, name, f"rdelay={SLOW_MS}ms", f"wdelay={SLOW_MS}ms")
    process, flusher = load(rig, system, name, plan.slow_s + 1)
    time.sleep(1)
    began = time.time()
    writes, flushes = finish(rig, name, process, flusher, plan.slow_s)
    until = min(began + plan.slow_s, writes[-1][0])
    reads = system.measure(READS, SIZE, plan.slow_s)
    system.stop()
    return {"writes": phase(writes, began, until, lambda start, at: start >= began),
            "flushes": phase(flushes, began, until, lambda start, at: start >= began),
            "reads": reads["read"]}


def two_plain(plan, rig):
    """What two legs give that are well: a third that is frozen should not take any of it."""
    system = systems.Surefoot(rig, "plain", [FileLeg(rig, "a"), FileLeg(rig, "b")], SIZE,
                              door="fast")
    system.write_out()
    process, flusher = load(rig, system, "plain", plan.slow_s + 1)
    time.sleep(1)
    began = time.time()
    writes, _ = finish(rig, "plain", process, flusher, plan.slow_s)
    until = min(began + plan.slow_s, writes[-1][0])
    system.stop()
    return phase(writes, began, until, lambda start, at: start >= began)


def in_rig(function, plan, rig, *arguments):
    """Each in a folder of its own, so that names can be the same."""
    own = Rig(rig.surefootctl.parent.parent)
    rig.on_close(own.close)
    try:
        return function(plan, own, *arguments)
    finally:
        own.close()


def measure(plan, rig, progress):
    result = {"deadline_ms": DEADLINE_MS, "slow_ms": SLOW_MS, "frozen_s": plan.frozen_s,
              "depth": DEPTH, "mirrors": {}, "two_plain": []}

    # Right before and right after what is compared with it: a shared disk may give half of that a minute later.
    def plain_legs():
        progress("stalls: two plain legs")
        result["two_plain"].append(in_rig(two_plain, plan, rig))

    for name in plan.mirrors:
        if name == "fast-3":
            plain_legs()
        progress(f"stalls: {systems.NAMES[name]}, one leg frozen for {plan.frozen_s} s")
        result["mirrors"][name] = in_rig(freeze, plan, rig, name)
        if name == "fast-3":
            plain_legs()
        progress(f"stalls: {systems.NAMES[name]}, one leg {SLOW_MS} ms slower")
        result["mirrors"][name]["slow"] = in_rig(slow, plan, rig, name)
    return result
