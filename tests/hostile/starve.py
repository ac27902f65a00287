"""Threads that hardly ever get a processor: a control group with a quota, of either version; where
there is none to be had, the whole process is stopped and goes on again many times a second."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

PERIOD_US = 100_000
CLOSE_S = 10
V1 = Path("/sys/fs/cgroup/cpu")
V2 = Path("/sys/fs/cgroup")


class Group:
    """A control group for some time.  Threads, one by one, are moved into it and back."""

    def __init__(self, percent):
        name = f"surefoot-hostile-{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        quota = PERIOD_US * percent // 100
        if (V1 / "cpu.cfs_quota_us").exists():
            self.home, self.folder, self.members = V1, V1 / name, "tasks"
            self.folder.mkdir()
            (self.folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self.folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            self.home, self.folder, self.members = V2, V2 / name, "cgroup.threads"
            self.folder.mkdir()
            (self.folder / "cgroup.type").write_text("threaded")
            (self.folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")

    def take(self, thread):
        (self.folder / self.members).write_text(str(thread))

    def close(self):
        """Threads that were taken have made others, and some are about to end."""
        end = time.monotonic() + CLOSE_S
        while True:
            for thread in (self.folder / self.members).read_text().split():
                with contextlib.suppress(OSError):
                    (self.home / self.members).write_text(thread)
            try:
                self.folder.rmdir()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.005)


class Bursts:
    """Without control groups: the whole process runs a little, then stands for long."""

    def __init__(self, percent):
        self.run_s = PERIOD_US / 1e6 * percent / 100
        self.pids = set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def take(self, thread):
        self.pids.add(int(Path(f"/proc/{thread}/status").read_text().split("Tgid:")[1].split()[0]))

    def _signal(self, which):
        for pid in list(self.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)

    def _run(self):
        while not self.ending.is_set():
            self._signal(signal.SIGSTOP)
            time.sleep(PERIOD_US / 1e6)
            self._signal(signal.SIGCONT)
            time.sleep(self.run_s)

    def close(self):
        self.ending.set()
        self.thread.join()


def starved(percent):
    try:
        return Group(percent)
    except OSError:
        return Bursts(percent)
