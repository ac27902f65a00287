"""The kernel's mirrors and ours, each over the same legs: made, undone, asked how they are.

Every one of them writes to `legs`, of which the last will be frozen, and keeps the data of a leg in
one piece from `data_offset` on."""

import re
import signal
import subprocess
from pathlib import Path

from guest import MIB, attach, ctl, run, serve, status, wait_until, write_conf

DRBDSETUP = "/lib/drbd/drbdsetup-84"  # the tools of DRBD 9 no longer speak to 8.4
WRITE_BEHIND = 16383  # as many writes as md allows


class Md:
    """RAID1.  write_behind: its best case, with the leg that will be frozen marked write-mostly.  It
    has to be the first: on Linux 6.1 nothing is written behind in any other place."""

    name = "md0"
    data_offset = 0  # metadata of version 1.0 are at the end

    def __init__(self, legs, write_behind=False):
        self.legs = legs
        self.write_behind = write_behind

    def make(self):
        run("modprobe", "-a", "md-mod", "raid1")
        order = self.legs[::-1] if self.write_behind else self.legs
        more = ["--bitmap=internal", f"--write-behind={WRITE_BEHIND}"] if self.write_behind else []
        run("mdadm", "--create", "/dev/md0", "--run", "--assume-clean", "--metadata=1.0", "--level=1",
            f"--raid-devices={len(order)}", *more, *(leg.path for leg in order))
        if self.write_behind:
            member = Path(f"/sys/block/md0/md/dev-{self.legs[-1].node()}")
            assert (member / "slot").read_text().strip() == "0", "not in the first place"
            (member / "state").write_text("writemostly")

    def details(self):
        if not self.write_behind:
            return None
        used = Path("/sys/block/md0/md/bitmap/max_backlog_used").read_text().strip()
        return f"{used} of {WRITE_BEHIND} writes behind"

    def is_whole(self):
        return f"[{'U' * len(self.legs)}]" in self.state()

    def state(self):
        block = re.search(r"^md0 .*\n.*$", Path("/proc/mdstat").read_text(), re.M)[0]
        return " ".join(re.findall(r"\([FSJR]\)|\[[U_]+\]", block))

    def undo(self):
        run("mdadm", "--stop", "/dev/md0")


class Drbd:
    """DRBD 8.4, both of its nodes in one kernel, joined over the loopback interface."""

    name = "drbd0"
    data_offset = 0

    def __init__(self, legs, *options):
        self.legs = legs
        self.options = options

    def make(self):
        # Without helpers: nothing is there to use its events.
        run("modprobe", "drbd", "minor_count=2", "usermode_helper=disabled")
        Path("/run/lock").mkdir(exist_ok=True)
        for minor, leg in enumerate(self.legs):
            run("drbdmeta", "--force", minor, "v08", leg.path, "internal", "create-md")
            run(DRBDSETUP, "new-resource", f"r{minor}")
            run(DRBDSETUP, "new-minor", f"r{minor}", minor, 0)
            run(DRBDSETUP, "attach", minor, leg.path, leg.path, "internal", "--disk-flushes=yes")
        ends = ("ipv4:127.0.0.1:7001", "ipv4:127.0.0.1:7002")
        run(DRBDSETUP, "connect", "r0", *ends, *self.options)
        run(DRBDSETUP, "connect", "r1", *reversed(ends), *self.options)
        wait_until(lambda: "Connected" in self.state().split(), "the other node")
        # Both disks are empty: nothing has to be copied first.
        run(DRBDSETUP, "new-current-uuid", "--clear-bitmap", 0)
        wait_until(self.is_whole, "both up to date")
        run(DRBDSETUP, "primary", 0)

    def details(self):
        return None

    def is_whole(self):
        return self.state() == "Connected UpToDate/UpToDate"

    def state(self):
        found = re.search(r"^ 0: .*$", Path("/proc/drbd").read_text(), re.M)
        return " ".join(re.findall(r"(?:cs|ds):(\S+)", found[0])) if found else "-"

    def undo(self):
        run(DRBDSETUP, "secondary", 0)
        for minor in range(len(self.legs)):
            run(DRBDSETUP, "down", f"r{minor}")
        run("rmmod", "drbd")


class Surefoot:
    name = "nbd0"
    data_offset = 8 * MIB
    socket = "/run/peers.sock"

    def __init__(self, legs, size):
        self.legs = legs
        self.size = size
        self.server = None

    def make(self):
        run("modprobe", "nbd")
        Path("/run/surefoot").mkdir(exist_ok=True)
        conf = write_conf("/tmp/peers.conf", {leg.name: leg for leg in self.legs},
                          write_deadline="1s", flush_deadline="1s")
        ctl("create", "--overwrite", "--zero", conf, "--size", self.size)
        self.server = serve(conf, self.socket)
        wait_until(self.is_whole, "healthy")
        attach(self.socket, "/dev/nbd0")

    def details(self):
        return None

    def is_whole(self):
        return status()["state"] == "healthy" and status()["unconverged_bytes"] == 0

    def state(self):
        return status()["state"]

    def undo(self):
        run("nbd-client", "-d", "/dev/nbd0")
        self.server.send_signal(signal.SIGTERM)
        assert self.server.wait(30) == 0, "the server failed"
