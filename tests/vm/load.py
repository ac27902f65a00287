"""How much longer everything takes in a guest because its host has other things to do."""

import os
import time
from pathlib import Path

EVERY_S = 2
KEPT = 30  # measurements: what was a minute ago does not lengthen what begins now
RAN_MIN_S = 0.05  # of a processor: a guest that sleeps loses nothing


def schedule(pid):
    """(seconds on a processor, seconds ready to run and without one) of all threads of a process."""
    ran = waited = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            words = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):
            continue  # it ended meanwhile
        ran += int(words[0])
        waited += int(words[1])
    return ran / 1e9, waited / 1e9


def processors():
    """(ticks that were used, ticks that were taken away by the machine below) of all processors."""
    words = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = words
    return user + nice + system + irq + softirq, steal


class Load:
    """worst: the longest that a second of work took in the last minute, in seconds; 1 on an idle host.
    The same stands in a file, which the guest reads."""

    def __init__(self, pid, path):
        self.pid = pid
        self.path = path
        self.measured = [1.0]
        self._before = None
        self._tell()

    @property
    def worst(self):
        return max(self.measured)

    def measure(self):
        try:
            now = (*schedule(self.pid), *processors())
        except OSError:
            return  # the process is gone
        if self._before:
            ran, waited, used, stolen = (new - old for new, old in zip(now, self._before))
            factor = 1.0
            if ran >= RAN_MIN_S:
                factor = (1 + max(0, waited) / ran) * (1 + max(0, stolen) / max(1, used))
            self.measured = [*self.measured, factor][-KEPT:]
            self._tell()
        self._before = now

    def _tell(self):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{self.worst:.2f}\n")
        os.replace(fresh, self.path)

    def watch(self, process):
        while process.poll() is None:
            self.measure()
            time.sleep(EVERY_S)
