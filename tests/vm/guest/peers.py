"""One copy stands still for ten seconds: what the kernel's mirrors do with the writes meanwhile, and
what we do.  /out/peers.json has what was seen; of us it is asserted, of the others only measured."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from guest import (MIB, OUT, answered, kernel_complaints, legs, main, run, say,
                   slowness, wait_until)
from mirrors import Drbd, Md, Surefoot

FROZEN_S = 10
SIZE = 96 * MIB
RATE = 200  # writes a second: what every one of them keeps up with here
RUNTIME_S = 20
GAP_S = 3  # ours: a deadline of 1 s and an emulated processor's slow moments

# Each write 4 KiB behind the end of the last one.  md does not write behind beside a write that is
# still on its way, so this is the order which suits it best.
APART = ("4 KiB apart", ["--rw=write:4k"])
FLUSHED = ("and a flush after every 16th", ["--rw=write:4k", "--fdatasync=16"])
RANDOM = ("in random places", ["--rw=randwrite"])


@dataclass
class Case:
    what: str
    count: int  # of legs
    make: callable
    loads: tuple = (APART, FLUSHED)
    ours: bool = False


AHEAD = ("--protocol=A", "--on-congestion=pull-ahead", "--congestion-fill=1M")
CASES = (
    Case("md RAID1", 2, Md),
    Case("md RAID1, write-behind", 2, lambda its: Md(its, write_behind=True), (APART, RANDOM, FLUSHED)),
    Case("DRBD, protocol C", 2, lambda its: Drbd(its, "--protocol=C")),
    Case("DRBD, C, timeout 1 s, ko-count 1", 2,
         lambda its: Drbd(its, "--protocol=C", "--timeout=10", "--ko-count=1")),
    Case("DRBD, A, pull-ahead", 2, lambda its: Drbd(its, *AHEAD)),
    Case("Surefoot, 2 legs", 2, lambda its: Surefoot(its, SIZE), ours=True),
    Case("Surefoot, 3 legs", 3, lambda its: Surefoot(its, SIZE), ours=True),
)


class Load:
    """Writes at a steady pace, and when each of them was answered."""

    def __init__(self, device, options):
        self.log = "/tmp/peers"
        for old in Path("/tmp").glob("peers_*.log"):
            old.unlink()
        self.report = Path("/tmp/peers.json")
        self.process = subprocess.Popen(
            ["fio", "--name=peers", f"--filename=/dev/{device}", f"--size={SIZE}", "--bs=4k",
             "--ioengine=libaio", "--direct=1", "--iodepth=8", f"--rate_iops={RATE}", "--randrepeat=0",
             "--time_based", f"--runtime={RUNTIME_S}", "--eta=never", "--output-format=json",
             f"--output={self.report}", f"--write_lat_log={self.log}", "--log_unix_epoch=1",
             "--disable_slat=1", "--disable_clat=1", *options], stdout=sys.stderr, stderr=sys.stderr)

    def wait(self):
        """[(answered at, waited)] in seconds, and the error if there was one."""
        code = self.process.wait(120 * slowness())
        text = self.report.read_text()
        (job,) = json.loads(text[text.index("{"):])["jobs"]
        entries = [line.split(",") for line in Path(f"{self.log}_lat.1.log").read_text().splitlines()]
        answers = sorted((int(at) / 1e3, int(waited) / 1e9) for at, waited, kind, *_ in entries
                         if int(kind) == 1)
        return answers, job["error"] or code


def longest_gap(answers, since, until):
    at = [when for when, _ in answers if since <= when <= until]
    return max((after - before for before, after in zip(at, at[1:])), default=0.0)


def empty(leg):
    """Zeros on all of them: nothing of the mirror before is left, and they are equal."""
    run("blkdiscard", "--zeroout", "--force", leg.path)


def copies_equal(mirror):
    first, *others = mirror.legs
    for leg in mirror.legs:
        run("blockdev", "--flushbufs", leg.path)  # forgets what was read of it earlier
    return all(run("cmp", "-i", mirror.data_offset, "-n", SIZE, first.path, leg.path,
                   check=False).returncode == 0 for leg in others)


class Asked:
    """The answer of a question that may hang as long as the leg does (/proc/mdstat is one)."""

    def __init__(self, question):
        self.answer = "no answer"
        self.thread = threading.Thread(target=self._ask, args=(question,), daemon=True)
        self.thread.start()

    def _ask(self, question):
        self.answer = question()


def measure(case, load_name, options, its):
    for leg in its:
        empty(leg)
    mirror = case.make(its)
    mirror.make()
    odd = its[-1]
    complained = len(kernel_complaints())
    before = answered(mirror.name)
    load = Load(mirror.name, options)
    wait_until(lambda: answered(mirror.name) > before + 3 * RATE, "a load")
    with odd.frozen():
        froze = time.time()
        reached = answered(odd.node())
        time.sleep(FROZEN_S / 2)
        asked = Asked(mirror.state)
        time.sleep(FROZEN_S / 2)
        state_frozen = asked.answer
        assert answered(odd.node()) == reached, "the leg was not frozen"
        thawed = time.time()
    wait_until(mirror.is_whole, "both copies in sync again", every=0.1)
    whole_s = time.time() - thawed
    asked.thread.join()
    answers, error = load.wait()
    found = {
        "system": case.what, "load": load_name,
        "frozen_s": round(thawed - froze, 1),
        "gap_before_s": round(longest_gap(answers, answers[0][0] + 0.5, froze), 2),
        "longest_gap_s": round(longest_gap(answers, froze - 1, answers[-1][0]), 2),
        "longest_wait_s": round(max(waited for _, waited in answers), 2),
        "answered_frozen": sum(froze <= at <= thawed for at, _ in answers),
        "errors": int(error != 0) + len(kernel_complaints()) - complained,
        "state_frozen": state_frozen, "state_after": mirror.state(), "details": mirror.details(),
        "whole_after_s": round(whole_s, 1),
    }
    mirror.undo()
    found["copies_equal"] = copies_equal(mirror)
    return found


def versions():
    return {
        "kernel": os.uname().release,
        "mdadm": run("mdadm", "--version").split(" - ")[1].strip().removeprefix("v"),
        "drbd": run("modinfo", "-F", "version", "drbd").strip(),
        "fio": run("fio", "--version").strip().removeprefix("fio-"),
        "surefoot": run("surefootctl", "--version").split()[-1],
    }


def test():
    its = list(legs("abc").values())
    result = {"frozen_s": FROZEN_S, "rate": RATE, "versions": versions(), "rows": []}
    for case in CASES:
        for load_name, options in case.loads:
            found = measure(case, load_name, options, its[:case.count])
            result["rows"].append(found)
            (OUT / "peers.json").write_text(json.dumps(result, indent=1) + "\n")
            say(f"{case.what}, {load_name}: {found}")
            assert found["copies_equal"] or not case.ours, "the copies are not equal"
            if case.ours:
                assert found["errors"] == 0, f"{found['errors']} errors"
                assert found["longest_gap_s"] < GAP_S * slowness(), f"no answer for {found['longest_gap_s']} s"


main(test, seconds=900)
