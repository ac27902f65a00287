"""Swap on a volume that the machine serves itself, more memory in use than there is, and kills: the kernel
writes pages to the volume when memory is short, and the server must not wait for that."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from guest import (assert_kernel_is_content, main, run, say, slowness, status, wait_healthy,
                   wait_until)

DEVICE = "/dev/nbd0"
WORKERS = 2

# Goes over its memory page by page, again and again, finds in each what it has put there, and ends when it is told
# to, between two pages.
WORKER = """
import signal, sys
pages, end = int(sys.argv[1]), []
signal.signal(signal.SIGTERM, lambda *_: end.append(True))
memory, turn, page, checked = bytearray(pages * 4096), 0, 0, 0
while not end:
    at = page * 4096
    if turn:
        checked += 1
        if memory[at:at + 8] != (turn << 32 | page).to_bytes(8, "little"):
            sys.exit(f"page {page} is wrong in turn {turn}")
    memory[at:at + 8] = (turn + 1 << 32 | page).to_bytes(8, "little")
    page += 1
    if page == pages:
        turn, page = turn + 1, 0
print(checked, "pages looked at again")
"""


def swapped():
    text = Path("/proc/vmstat").read_text()
    return [int(re.search(rf"^{name} (\d+)", text, re.M)[1]) for name in ("pswpout", "pswpin")]


def total_kib():
    return int(re.search(r"MemTotal: +(\d+)", Path("/proc/meminfo").read_text())[1])


def ours():
    """What serves: the daemon, its servers, and their processes."""
    (group,) = Path("/sys/fs/cgroup").rglob("surefootd.service")
    return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]


def assert_good_writers():
    for pid in ours():
        text = Path(f"/proc/{pid}/status").read_text()
        name, locked, swap = (re.search(rf"^{key}:\s+(\S+)", text, re.M)[1]
                              for key in ("Name", "VmLck", "VmSwap"))
        assert int(locked) > 0, f"{name} is not locked in memory:\n{text}"
        assert int(swap) == 0, f"{name} was swapped out:\n{text}"


def grows(index, by):
    before = swapped()[index]
    wait_until(lambda: swapped()[index] > before + by, "pages that are swapped", 120, every=0.5)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "its end")


def test():
    wait_until(lambda: os.path.exists("/sys/block/nbd0/pid"), "the device")
    wait_healthy()
    assert_good_writers()
    run("mkswap", DEVICE)
    run("swapon", DEVICE)
    # Each has half of what there is, and the rest of the machine has some.
    pages = total_kib() // 4 * 9 // 20
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(pages)])
               for _ in range(WORKERS)]
    for _ in range(3):
        grows(0, 5000)
    say(f"{swapped()} pages out and in")
    at = time.monotonic()
    kill(status()["service"]["pid"])
    grows(0, 5000)
    say(f"a killed server: it swaps on, {time.monotonic() - at:.1f} s later")
    at = time.monotonic()
    kill(int(run("systemctl", "show", "-P", "MainPID", "surefootd")))
    grows(0, 5000)
    say(f"a killed surefootd: it swaps on, {time.monotonic() - at:.1f} s later")
    grows(1, 2000)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        assert worker.wait(300 * slowness()) == 0, "a process lost its memory"
    out, back = swapped()
    say(f"{out} pages out and {back} in, each as it was")
    wait_healthy()
    assert_good_writers()
    run("swapoff", DEVICE, seconds=600)
    assert_kernel_is_content(r"Receive control failed|Dead connection|timed out")


main(test)
