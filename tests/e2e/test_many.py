"""Proves that a machine with many volumes starts them all, that each costs what surefootd counts, and that fewer
threads cost less.  24 volumes of small files; no device."""

import os
import re
from pathlib import Path

from case import VolumeTest, main
from daemon import Daemon
from rig import PATIENCE_S

VOLUMES = 24
MIB = 1 << 20


def children(pid):
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += children(int(child))
    return found


def cost(pid):
    """Memory and descriptors of a server and the processes that it has made."""
    memory = files = 0
    for process in children(pid):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        memory += int(re.search(r"^Pss_Anon: +(\d+)", rollup, re.M)[1]) * 1024
        files += len(os.listdir(f"/proc/{process}/fd"))
    return memory, files


class Many(VolumeTest):
    def test_they_all_start(self):
        daemon = Daemon(self.rig)
        volumes = [daemon.volume(f"v{i:02}", legs="ab", threads=4 if i % 2 else 64) for i in range(VOLUMES)]
        daemon.start()
        for volume in volumes:
            daemon.wait_serving(volume.name, seconds=3 * PATIENCE_S)
        costs = [cost(daemon.pid(volume.name)) for volume in volumes]
        for i, (memory, files) in enumerate(costs):
            # Nothing is shared that could make the first one dear and the others cheap.
            self.assertLess(memory, (30 if i % 2 else 80) * MIB, f"volume {i}")
            self.assertLess(files, 150, f"volume {i}")
        for volume in volumes[:2]:
            handle = daemon.client(volume).connect()
            handle.pwrite(b"x" * MIB, 0)
            self.assertEqual(b"x" * MIB, bytes(handle.pread(MIB, 0)))
            handle.shutdown()
        daemon.stop(seconds=3 * PATIENCE_S)

    def limited(self, limit, volumes):
        """A surefootd that may have so many files open, and volumes."""
        daemon = Daemon(self.rig)
        real, daemon.binary = daemon.binary, self.rig.folder / "limited"
        daemon.binary.write_text(f"#!/bin/sh\nulimit {limit}\nexec {real} \"$@\"\n")
        daemon.binary.chmod(0o755)
        return daemon, [daemon.volume(f"v{i:02}", legs="a", threads=4) for i in range(volumes)]

    def test_few_files(self):
        """A limit that may be raised is raised, one that may not be is told."""
        daemon, volumes = self.limited("-Sn 40", 12)
        daemon.start()
        for volume in volumes:
            daemon.wait_serving(volume.name, seconds=3 * PATIENCE_S)
        self.assertNotIn("open files", daemon.log())
        daemon.stop(seconds=3 * PATIENCE_S)

    def test_too_few_files(self):
        daemon, _ = self.limited("-n 60", 12)
        daemon.start(ready=False)
        self.rig.wait_until(lambda: "12 volumes need 128 open files, and 60 are allowed" in daemon.log(),
                            "the warning", daemon.process)
        daemon.stop(seconds=3 * PATIENCE_S)

    def test_more_than_the_machine_has(self):
        """It is said at the start.  (A file in /proc cannot be made smaller: so many volumes that no machine has it;
        their legs are not there, so none starts.)"""
        daemon = Daemon(self.rig)
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if have * 3 // 4 > 256 * 68 * MIB:
            self.skipTest("this machine has memory for all volumes that surefootd runs")
        for i in range(256):
            (daemon.folder / f"v{i:03}.conf").write_text(
                f"[volume]\nname = v{i:03}\nwait_for_legs = 0s\n[leg a]\npath = {self.rig.folder}/gone{i}\n")
        daemon.start(ready=False)
        self.rig.wait_until(lambda: "256 volumes need" in daemon.log(), "the warning", daemon.process)
        daemon.stop(seconds=3 * PATIENCE_S)


if __name__ == "__main__":
    main()
