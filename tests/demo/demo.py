#!/usr/bin/python3
"""The demonstration: three legs, one freezes for ten seconds under a verified load, and no write
has to wait for it.  Ends with the three legs equal byte for byte.  Into a pipe the last line is JSON.

Exit 0: as promised.  1: not as promised.  77: this machine cannot show it, and why.
"""

import argparse
import ctypes
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
import rig as rig_module  # noqa: E402
from rig import MIB, FileLeg, FuseLeg, Rig, Unavailable, monotonic_deadline  # noqa: E402

BLOCK = 4096
DEPTH = 16
DEADLINE_MS = 100  # at least; twice the longest write of this machine while all legs are well
DEADLINE_MAX_MS = 2000
STUCK_S = 40  # a leg that comes back shows no progress for so long: it hangs
NOT_HERE = 77


class Script:
    """How long each scene is, and which blocks it writes.  Each block once, so that a lost write cannot
    hide under a later one; the last quarter is for what is written when all is well again."""

    def __init__(self, short):
        self.size = 64 * MIB if short else 256 * MIB
        self.before_s, self.frozen_s, self.after_s = (2, 3, 2) if short else (5, 10, 5)
        self.catching_up_s = 2 if short else 5
        self.load_s = self.before_s + self.frozen_s + self.catching_up_s
        self.last = self.size // 4
        self.pace_max = min((self.size - self.last) // BLOCK // self.load_s,
                            self.last // BLOCK // self.after_s)


# ---- talking ----


class Story:
    """Plain lines, as wide as the terminal; bars only on a terminal."""

    def __init__(self):
        self.tty = sys.stdout.isatty()
        self.began = time.monotonic()

    def width(self):
        return shutil.get_terminal_size().columns - 1 if self.tty else 1000

    def say(self, text="", indent=""):
        for line in text.splitlines() or [""]:
            # A table keeps its blanks; what does not fit goes on below.
            print(textwrap.fill(indent + line, self.width(), subsequent_indent=indent + "  ",
                                replace_whitespace=False) if line.strip() else "", flush=True)

    def step(self, text):
        print(textwrap.fill(f"{time.monotonic() - self.began:5.1f} s  {text}", self.width(),
                            subsequent_indent=" " * 9), flush=True)

    def bar(self, label, fraction):
        if self.tty:
            room = max(4, min(30, self.width() - 9 - len(label) - 3))
            done = int(room * min(1.0, fraction))
            line = f"{' ' * 9}[{'#' * done}{'.' * (room - done)}] {label}"[:self.width()]
            print(f"\r\x1b[K{line}", end="", flush=True)

    def bar_gone(self):
        if self.tty:
            print("\r\x1b[K", end="", flush=True)


class Baseline(threading.Thread):
    """What this machine does by itself, in the same run: a file beside those of the legs is written
    every 20 ms, O_DIRECT, without any of our code."""

    EVERY_S = 0.02

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.ended = threading.Event()
        self.seen = []  # (when it was answered, wall clock s; how much too late, ms)

    def run(self):
        page = mmap.mmap(-1, BLOCK)
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
        try:
            os.pwrite(fd, page, 0)  # the block is there from now on
            begins = time.monotonic()
            while not self.ended.wait(self.EVERY_S):
                os.pwrite(fd, page, 0)
                ends = time.monotonic()
                self.seen.append((time.time(), (ends - begins - self.EVERY_S) * 1000))
                begins = ends
        finally:
            os.close(fd)

    def longest_ms(self, start, end):
        """Of what was under way in these seconds."""
        return round(max((late for at, late in self.seen if start <= at and at - late / 1000 <= end),
                         default=0.0), 2)

    def stop(self):
        self.ended.set()
        self.join()


def shown_status(rig, volume):
    """What the operator sees, less the column of paths: they are long here, and mean nothing."""
    lines = rig.ctl("--control", volume.control, "status").splitlines()
    header = next(line for line in lines if line.lstrip().startswith("LEG"))
    start, end = header.index("PATH"), header.index("STATE")
    table = lines.index(header)
    return "\n".join(lines[:table] + [line[:start] + line[end:] for line in lines[table:]])


def wait(story, seconds, label, process):
    """Lets the load run, and notices when it ends too soon."""
    left = monotonic_deadline(seconds)
    while left() > 0:
        story.bar(label, 1 - left() / seconds)
        try:
            code = process.wait(min(0.1, max(0.001, left())))
            raise AssertionError(f"fio ended too early, exit {code}")
        except subprocess.TimeoutExpired:
            pass
    story.bar_gone()


def wait_in_sync(story, volume):
    """As long as it goes on: how fast a leg is caught up is this machine's affair."""
    left, seen = monotonic_deadline(STUCK_S), None
    with volume.follow() as events:
        while True:
            status = volume.status()
            leg = volume.leg("c", status)
            if status["legs_in_sync"] == 3 and status["state"] == "healthy":
                story.bar_gone()
                return
            resync = leg["resync"]
            done = (leg["state"], leg["stale_bytes"], resync and resync["done_bytes"])
            if done != seen:
                left, seen = monotonic_deadline(STUCK_S), done
            if left() <= 0:
                story.bar_gone()
                raise AssertionError(f"leg c is still {leg['state']}, and nothing has changed for "
                                     f"{STUCK_S} s")
            total = resync["total_bytes"] if resync else 0
            story.bar(f"leg c is {leg['state']}", resync["done_bytes"] / total if total else 0)
            events.next(min(left(), 0.1))


# ---- the load ----


def fio(server, name, offset, size, *options):
    return ["fio", f"--name={name}", "--ioengine=nbd", f"--uri={server.uri}", "--rw=randwrite",
            f"--bs={BLOCK}", f"--iodepth={DEPTH}", f"--offset={offset}", f"--size={size}",
            "--randrepeat=0", "--output-format=json", *options]


def fio_report(path):
    """fio writes its warnings in front of its JSON."""
    text = path.read_text()
    start = text.find("{")
    if start < 0:
        raise AssertionError(f"fio said: {text.strip()}")
    return json.loads(text[start:])["jobs"][0]


class Load:
    """Random writes at a fixed pace, each with its checksum; at the end everything is read back."""

    def __init__(self, rig, server, name, offset, size, pace, seconds):
        self.rig = rig
        self.name = name
        self.began = time.time()
        self.process = rig.spawn(
            fio(server, name, offset, size, f"--io_size={pace * seconds * BLOCK}",
                f"--rate_iops=,{pace}", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
                "--verify_state_save=0", f"--write_lat_log={rig.folder}/{name}",
                "--log_unix_epoch=1", "--disable_slat=1", "--disable_clat=1",
                f"--output={rig.folder}/{name}.json"))

    def end(self, story):
        left = monotonic_deadline(600)
        while self.process.poll() is None and left() > 0:
            story.bar("fio writes on, then reads everything back", 1 - left() / 600)
            try:
                self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        story.bar_gone()
        report = fio_report(self.rig.folder / f"{self.name}.json")
        self.error = report["error"]
        self.written, self.read = (report[kind]["total_ios"] for kind in ("write", "read"))
        self.verified = self.process.returncode == 0 and not self.error and self.read == self.written

    def latencies(self):
        """[(completed at, wall clock s; latency ms)] of every single write."""
        writes = []
        with open(self.rig.folder / f"{self.name}_lat.1.log") as log:
            for line in log:
                at_ms, latency_ns, direction, _ = line.split(",", 3)
                if int(direction) == 1:
                    writes.append((int(at_ms) / 1000, int(latency_ns) / 1e6))
        return writes


def measure_pace(rig, server, script):
    """What the volume takes, two seconds long: (writes a second, the longest one in ms, the pace of the
    load).  The pace is well below, so that the same is offered before, during and after."""
    output = rig.folder / "pace.json"
    rig.run(*fio(server, "pace", 0, script.size, "--runtime=2", "--time_based", f"--output={output}"))
    write = fio_report(output)["write"]
    speed = write["iops"]
    return (int(speed), write["lat_ns"]["max"] / 1e6,
            max(100, min(int(speed * 0.6), script.pace_max)))


def choose_deadline(longest_ms):
    """Below what this machine needs by itself, legs that are well would count as late."""
    return min(DEADLINE_MAX_MS, max(DEADLINE_MS, -int(-2 * longest_ms // 100) * 100))


def phase(writes, start, end):
    latencies = sorted(latency for at, latency in writes if start <= at < end)
    if not latencies or end <= start:
        return None

    def percentile(p):
        return round(latencies[min(len(latencies) - 1, int(len(latencies) * p))], 2)

    return {"seconds": round(end - start, 1), "writes": len(latencies),
            "writes_per_s": round(len(latencies) / (end - start)), "p50_ms": percentile(0.50),
            "p99_ms": percentile(0.99), "max_ms": round(latencies[-1], 2)}


# ---- the whole ----


def check_machine():
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(425, 1, ctypes.create_string_buffer(120))  # io_uring_setup
    if ring < 0:
        raise Unavailable(f"io_uring is not available here: {os.strerror(ctypes.get_errno())}"
                          " (sysctl kernel.io_uring_disabled, or a container's seccomp filter)")
    os.close(ring)


class Play:
    def __init__(self, story, rig, script):
        self.story, self.rig, self.script = story, rig, script
        self.result = {}

    def make(self):
        story, rig, script = self.story, self.rig, self.script
        story.step(f"making three legs of {script.size // MIB} MiB")
        self.leg = FuseLeg(rig, "c")
        generous = f"{DEADLINE_MAX_MS}ms"
        self.volume = rig.volume([FileLeg(rig, "a"), FileLeg(rig, "b"), self.leg], script.size,
                                 write_deadline=generous, read_deadline=generous,
                                 flush_deadline=generous)
        self.volume.create()
        story.step("created vol0; leg c is a file that can be frozen")
        self.server = self.volume.serve(threads=DEPTH)
        self.volume.wait_all_in_sync()
        speed, longest_ms, self.pace = measure_pace(rig, self.server, script)
        self.deadline_ms = choose_deadline(longest_ms)
        for key in ("write_deadline", "read_deadline"):
            rig.ctl("--control", self.volume.control, "set", "vol0", f"{key}={self.deadline_ms}ms")
        story.step(f"serving it with nbdkit; the write deadline is {self.deadline_ms} ms" + (
            "" if self.deadline_ms == DEADLINE_MS else
            f": this machine is busy, a write takes up to {longest_ms:.0f} ms without any fault"))
        self.result.update(pace=self.pace, flat_out=speed, deadline_ms=self.deadline_ms)

    def load(self, name, offset, size, seconds):
        return Load(self.rig, self.server, name, offset, size, self.pace, seconds)

    def freeze(self):
        story, script = self.story, self.script
        self.first = self.load("load", 0, script.size - script.last, script.load_s)
        story.step(f"fio writes {self.pace} random 4 KiB blocks a second at depth {DEPTH}, each with "
                   f"its checksum (flat out it would be {self.result['flat_out']})")
        wait(story, script.before_s, "all three legs are well", self.first.process)
        self.froze = time.time()
        self.leg.freeze()
        story.step("froze leg c: it answers nothing any more")
        wait(story, min(3, script.frozen_s / 2), "leg c is frozen", self.first.process)
        story.say()
        story.say(shown_status(self.rig, self.volume), " " * 9)
        story.say()
        wait(story, script.frozen_s - (time.time() - self.froze), "leg c is frozen",
             self.first.process)

    def thaw(self):
        story = self.story
        self.thawed = time.time()
        self.leg.thaw()
        story.step("thawed leg c: from here on nobody touches anything")
        wait_in_sync(story, self.volume)
        self.in_sync = time.time()
        self.result["catch_up_s"] = round(self.in_sync - self.thawed, 1)
        story.step(f"leg c has caught up and is in sync, {self.in_sync - self.thawed:.1f} s after the thaw")
        self.first.end(story)
        self.second = self.load("after", self.script.size - self.script.last, self.script.last,
                                self.script.after_s)
        self.second.end(story)
        loads = (self.first, self.second)
        self.result["verified"] = all(load.verified for load in loads)
        story.step(f"fio wrote {sum(load.written for load in loads)} blocks, read them back and checked "
                   f"each: {'all are right' if self.result['verified'] else 'WRONG'}")

    def compare(self):
        errors = self.volume.status()["requests"]["errors"]
        memory = self.server.memory_peak_bytes()
        self.server.stop()
        equal = len(set(self.volume.data_hashes().values())) == 1
        self.story.step(f"stopped; the data of a, b and c is "
                        f"{'equal byte for byte' if equal else 'NOT EQUAL'}")
        self.result.update(errors_seen_by_client=errors, legs_equal=equal,
                           memory_peak_mib=memory // MIB)

    def count(self, baseline):
        writes, after = self.first.latencies(), self.second.latencies()
        end = max(at for at, _ in writes)
        self.result.update(
            before=phase(writes, self.first.began, self.froze),
            during=phase(writes, self.froze, self.thawed),
            catching_up=phase(writes, self.thawed, min(self.in_sync, end)),
            after=phase(after, self.second.began, max(at for at, _ in after) + 0.001),
            baseline_ms=baseline.longest_ms(self.froze, self.thawed))


def play(story, rig, script):
    it = Play(story, rig, script)
    it.make()
    baseline = Baseline(rig.folder / "baseline")
    baseline.start()
    it.freeze()
    it.thaw()
    baseline.stop()
    it.compare()
    it.count(baseline)
    return it.result


def allowance_ms(result, slack_ms):
    """How much longer than its deadline a write may take.  What ends at the deadline is a few steps, each
    as long as this machine needs for it: the write to the others, the record without the late leg, the
    answer.  How long one takes is measured while the leg is frozen by a write of our own to a plain file
    (baseline_ms), and before by the same load beside three legs that are well."""
    step = max(result["baseline_ms"], result["before"]["max_ms"] if result["before"] else 0)
    return max(slack_ms, 3 * step)


def judge(result, slack_ms):
    """The promises that were broken; none, if all is well."""
    broken = []
    if not result["verified"]:
        broken.append("fio read back something else than it wrote")
    if not result["legs_equal"]:
        broken.append("the legs differ")
    if result["errors_seen_by_client"]:
        broken.append(f"{result['errors_seen_by_client']} requests failed")
    during = result["during"]
    allowed = round(allowance_ms(result, slack_ms))
    if during and result["deadline_ms"] + allowed > during["seconds"] * 1000 / 2:
        raise Unavailable(f"it stands still by itself, for {allowed / 3:.0f} ms: beside that a frozen leg "
                          "does not show")
    if not during:
        broken.append("nothing was written while the leg was frozen")
    elif during["max_ms"] > result["deadline_ms"] + allowed:
        broken.append(f"a write took {during['max_ms']} ms: more than the deadline of "
                      f"{result['deadline_ms']} ms and {allowed} ms")
    return broken


def show(story, result):
    story.say()
    story.say("                 writes/s      p50 ms      p99 ms      max ms")
    for name in ("before", "during", "catching_up", "after"):
        numbers = result[name]
        if numbers:
            story.say(f"  {name.replace('_', ' '):12} {numbers['writes_per_s']:10d}"
                      f"  {numbers['p50_ms']:10.2f}  {numbers['p99_ms']:10.2f}"
                      f"  {numbers['max_ms']:10.2f}")
    story.say()
    if result["broken"]:
        for promise in result["broken"]:
            story.say(f"  NOT AS PROMISED: {promise}")
    else:
        story.say(f"  No request failed; while the leg was frozen the longest write took "
                  f"{result['during']['max_ms']:.0f} ms.")
        if result["baseline_ms"] > 50:
            story.say(f"  This machine is busy: a write to a plain file beside it took up to "
                      f"{result['baseline_ms']:.0f} ms meanwhile.")
    story.say()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=None, help="the build folder")
    parser.add_argument("--short", action="store_true", help="three seconds of frost, not ten")
    parser.add_argument("--slack-ms", type=int, default=50,
                        help="how much longer than its deadline a write may take")
    arguments = parser.parse_args()

    def end(number, frame):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)

    story = Story()
    rig = None
    result = {"ok": False}
    try:
        check_machine()
        rig = Rig(arguments.build)
        result.update(play(story, rig, Script(arguments.short)))
        result["broken"] = judge(result, arguments.slack_ms)
        result["ok"] = not result["broken"]
        show(story, result)
        code = 0 if result["ok"] else 1
    except Unavailable as reason:
        story.say(f"cannot be shown on this machine: {reason}")
        result["reason"] = str(reason)
        code = NOT_HERE
    except KeyboardInterrupt:
        story.bar_gone()
        story.say("stopped; cleaning up")
        result["reason"] = "interrupted"
        code = 130
    except (AssertionError, OSError, rig_module.CommandFailed, rig_module.TookTooLong,
            subprocess.TimeoutExpired) as failure:
        story.bar_gone()
        story.say(f"FAILED: {failure}")
        result["reason"] = str(failure).splitlines()[0]
        code = 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # nothing may cut the clean-up short
        if rig:
            rig.close()
    if not story.tty:
        print(json.dumps(result), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
