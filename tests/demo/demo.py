#!/usr/bin/python3
"""The demonstration: three legs, one freezes for ten seconds under a verified load, and nobody who
writes has to wait for it.  Ends with the three legs equal byte for byte, and one line of JSON.

Exit 0: as promised.  1: not as promised.  77: this machine cannot show it, and why.
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))
import rig as rig_module  # noqa: E402
from rig import MIB, FileLeg, FuseLeg, Rig, Unavailable, monotonic_deadline  # noqa: E402

BLOCK = 4096
DEPTH = 16
DEADLINE_MS = 100
CATCH_UP_S = 40
NOT_HERE = 77


class Script:
    """How long each scene is."""

    def __init__(self, short):
        self.size = 64 * MIB if short else 256 * MIB
        self.before_s, self.frozen_s, self.after_s = (2, 3, 2) if short else (5, 10, 10)
        self.load_s = self.before_s + self.frozen_s + self.after_s
        # Each block once, so that a lost write cannot hide under a later one.
        self.writes_max = self.size // BLOCK


# ---- talking ----


class Story:
    """Plain lines; bars only where somebody watches."""

    def __init__(self):
        self.tty = sys.stdout.isatty()
        self.began = time.monotonic()

    def say(self, text=""):
        print(text, flush=True)

    def step(self, text):
        self.say(f"{time.monotonic() - self.began:5.1f} s  {text}")

    def bar(self, label, fraction):
        if self.tty:
            done = int(30 * min(1.0, fraction))
            print(f"\r         [{'#' * done}{'.' * (30 - done)}] {label}  ", end="", flush=True)

    def bar_gone(self):
        if self.tty:
            print("\r" + " " * 78 + "\r", end="", flush=True)


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
    left = monotonic_deadline(CATCH_UP_S)
    with volume.follow() as events:
        while True:
            status = volume.status()
            leg = volume.leg("c", status)
            if status["legs_in_sync"] == 3 and status["state"] == "healthy":
                story.bar_gone()
                return
            if left() <= 0:
                story.bar_gone()
                raise AssertionError(f"leg c is still {leg['state']} {CATCH_UP_S} s after the thaw")
            resync = leg["resync"]
            total = resync["total_bytes"] if resync else 0
            story.bar(f"leg c is {leg['state']}", resync["done_bytes"] / total if total else 0)
            events.next(min(left(), 0.1))


# ---- the load ----


def fio(server, size, *options):
    return ["fio", "--name=load", "--ioengine=nbd", f"--uri={server.uri}", "--rw=randwrite",
            f"--bs={BLOCK}", f"--iodepth={DEPTH}", f"--size={size}", "--randrepeat=0",
            "--output-format=json", *options]


def fio_report(path):
    """fio writes its warnings in front of its JSON."""
    text = path.read_text()
    start = text.find("{")
    if start < 0:
        raise AssertionError(f"fio said: {text.strip()}")
    return json.loads(text[start:])["jobs"][0]


def measure_pace(rig, server, script):
    """What the volume takes, two seconds long; the load keeps well below it, so that the same is
    offered before, during and after."""
    output = rig.folder / "pace.json"
    rig.run(*fio(server, script.size, "--runtime=2", "--time_based", f"--output={output}"))
    speed = fio_report(output)["write"]["iops"]
    return int(speed), max(100, min(int(speed * 0.6), script.writes_max // script.load_s))


def start_load(rig, server, script, pace):
    return rig.spawn(
        fio(server, script.size, f"--io_size={pace * script.load_s * BLOCK}", f"--rate_iops=,{pace}",
            "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0",
            f"--write_lat_log={rig.folder}/load", "--log_unix_epoch=1", "--disable_slat=1",
            "--disable_clat=1", f"--output={rig.folder}/load.json"))


def read_latencies(rig):
    """[(completed at, wall clock s; latency ms)] of every single write."""
    writes = []
    with open(rig.folder / "load_lat.1.log") as log:
        for line in log:
            at_ms, latency_ns, direction, _ = line.split(",", 3)
            if int(direction) == 1:
                writes.append((int(at_ms) / 1000, int(latency_ns) / 1e6))
    return writes


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


def play(story, rig, script):
    frozen = FuseLeg(rig, "c")
    volume = rig.volume([FileLeg(rig, "a"), FileLeg(rig, "b"), frozen], script.size,
                        write_deadline=f"{DEADLINE_MS}ms", read_deadline=f"{DEADLINE_MS}ms")
    volume.create()
    story.step(f"created vol0: {script.size // MIB} MiB on three legs; leg c is a file that can be frozen")
    server = volume.serve(threads=DEPTH)
    volume.wait_all_in_sync()
    story.step(f"serving it with nbdkit; the write deadline is {DEADLINE_MS} ms")

    speed, pace = measure_pace(rig, server, script)
    load = start_load(rig, server, script, pace)
    started = time.time()
    story.step(f"fio writes {pace} random 4 KiB blocks a second at depth {DEPTH}, each with its "
               f"checksum (flat out it would be {speed})")
    wait(story, script.before_s, "all three legs are well", load)

    froze = time.time()
    frozen.freeze()
    story.step("froze leg c: it answers nothing any more")
    wait(story, min(3, script.frozen_s / 2), "leg c is frozen", load)
    story.say()
    story.say("\n".join("         " + line for line in
                        rig.ctl("--control", volume.control, "status").splitlines()))
    story.say()
    wait(story, script.frozen_s - (time.time() - froze), "leg c is frozen", load)

    thawed = time.time()
    frozen.thaw()
    story.step("thawed leg c: from here on nobody touches anything")
    wait_in_sync(story, volume)
    in_sync = time.time()
    story.step(f"leg c has caught up and is in sync, {in_sync - thawed:.1f} s after the thaw")

    left = monotonic_deadline(120)
    while load.poll() is None and left() > 0:
        story.bar("fio writes on, then reads everything back", 1 - left() / 60)
        try:
            load.wait(0.1)
        except subprocess.TimeoutExpired:
            pass
    story.bar_gone()
    report = fio_report(rig.folder / "load.json")
    verified = load.returncode == 0 and report["error"] == 0
    story.step(f"fio wrote {report['write']['total_ios']} blocks, read back "
               f"{report['read']['total_ios']} and checked each: "
               f"{'all are right' if verified else 'WRONG, error ' + str(report['error'])}")

    status = volume.status()
    memory = server.memory_peak_bytes()
    server.stop()
    hashes = volume.data_hashes()
    equal = len(set(hashes.values())) == 1
    story.step(f"stopped; the data of a, b and c is "
               f"{'equal byte for byte' if equal else 'NOT EQUAL'}")

    writes = read_latencies(rig)
    end = max(at for at, _ in writes)
    phases = {"before": phase(writes, started, froze), "during": phase(writes, froze, thawed),
              "catching_up": phase(writes, thawed, min(in_sync, end)),
              "after": phase(writes, in_sync, end)}
    return {"pace": pace, "flat_out": speed, **phases, "catch_up_s": round(in_sync - thawed, 1),
            "errors_seen_by_client": status["requests"]["errors"], "verified": verified,
            "legs_equal": equal, "memory_peak_mib": memory // MIB, "deadline_ms": DEADLINE_MS}


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
    if not during:
        broken.append("nothing was written while the leg was frozen")
    elif during["max_ms"] > DEADLINE_MS + slack_ms:
        broken.append(f"a write took {during['max_ms']} ms: more than the deadline of "
                      f"{DEADLINE_MS} ms and {slack_ms} ms")
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
    print(json.dumps(result), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
