"""Where the legs lie: files under O_DIRECT on a disk, the same on a disk in memory, files in memory, zram block
devices.

Every file or device that is measured, whosever it is, is written out once beforehand: a write into a
hole or into an extent that was only allocated costs the file system more than one over old data.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rig import Unavailable


def _takes_direct(folder):
    path = Path(folder) / "direct"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600))
        return True
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)


class Folder:
    """Files that are opened with O_DIRECT."""

    def __init__(self, name, parent, why_not):
        self.name = name
        if not os.path.isdir(parent) or not os.access(parent, os.W_OK):
            raise Unavailable(f"{parent} is not there")
        self.folder = Path(tempfile.mkdtemp(prefix="surefoot-bench-", dir=parent))
        if not _takes_direct(self.folder):
            self.close()
            raise Unavailable(why_not)
        self.made = 0

    def make(self, size):
        self.made += 1
        path = self.folder / f"leg-{self.made}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)
        return path

    def room(self):
        return shutil.disk_usage(self.folder).free

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class RamDisk(Folder):
    """Files under O_DIRECT on an ext4 of their own, on a loop device over memory: what a disk without moods gives.  A
    shared one varies by a factor of two within minutes, and then says more than what is measured."""

    SIZE = 8 << 30
    REQUESTS = "128"  # some kernels hold a loop device at 4, and whoever hands it a fifth one sleeps

    def __init__(self, name):
        self.close_first = contextlib.ExitStack()
        if os.geteuid() != 0:
            raise Unavailable("a disk in memory needs root")
        try:
            self._build(name)
        except (OSError, subprocess.CalledProcessError) as reason:
            self.close_first.close()
            raise Unavailable(f"a disk in memory cannot be made: {reason}") from None

    def _build(self, name):
        image = Path(tempfile.mkstemp(prefix="surefoot-bench-", dir="/dev/shm")[1])
        self.close_first.callback(image.unlink)
        os.truncate(image, self.SIZE)
        device = self._run("losetup", "--find", "--show", image).strip()
        self.close_first.callback(self._run, "losetup", "--detach", device)
        Path(f"/sys/block/{Path(device).name}/queue/nr_requests").write_text(self.REQUESTS)
        self._run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
        parent = tempfile.mkdtemp(prefix="surefoot-bench-", dir="/dev/shm")
        self.close_first.callback(os.rmdir, parent)
        self._run("mount", device, parent)
        self.close_first.callback(self._run, "umount", parent)
        super().__init__(name, parent, "ext4 on a loop device does not take O_DIRECT")

    @staticmethod
    def _run(*command):
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def close(self):
        super().close()
        self.close_first.close()


class Zram:
    """Block devices in compressed memory; only root can make them."""

    CONTROL = Path("/sys/class/zram-control")

    def __init__(self, name):
        self.name = name
        self.devices = []
        if os.geteuid() != 0 or not os.access(self.CONTROL / "hot_add", os.R_OK):
            raise Unavailable("zram devices need root and a kernel with zram")

    def make(self, size):
        number = int((self.CONTROL / "hot_add").read_text())
        self.devices.append(number)
        (Path(f"/sys/block/zram{number}") / "disksize").write_text(str(size))
        return Path(f"/dev/zram{number}")

    def room(self):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return 0

    def close(self):
        for number in self.devices:
            (Path(f"/sys/block/zram{number}") / "reset").write_text("1")
            (self.CONTROL / "hot_remove").write_text(str(number))
        self.devices = []


class PacedDisks(Zram):
    """Block devices that the kernel holds to a pace: so many bytes a second, written by this process and what it
    starts.  They cost the processor next to nothing, so what is measured is what asks them."""

    GROUPS = Path("/sys/fs/cgroup/blkio"), Path("/sys/fs/cgroup")  # of the first version, of the second

    def __init__(self, name, bytes_per_s):
        super().__init__(name)
        self.bytes_per_s = bytes_per_s
        self.group = self.moved_from = None
        self.parent = next((path for path in self.GROUPS if self._can_throttle(path)), None)
        if self.parent is None:
            raise Unavailable("this kernel, or its administrator, gives no cgroup that paces block devices")
        self.is_first = (self.parent / "blkio.reset_stats").exists()
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        self.moved_from = self.parent / next(path.strip("/") for number, controllers, path in own
                                             if "blkio" in controllers or number == "0")
        self.group = Path(tempfile.mkdtemp(prefix="surefoot-bench-", dir=self.parent))
        (self.group / "cgroup.procs").write_text(str(os.getpid()))

    @staticmethod
    def _can_throttle(folder):
        subtree = folder / "cgroup.subtree_control"
        return (os.access(folder / "blkio.reset_stats", os.F_OK) or
                subtree.exists() and "io" in subtree.read_text().split()) and os.access(folder, os.W_OK)

    def make(self, size):
        path = super().make(size)
        number = Path(f"/sys/block/{path.name}/dev").read_text().strip()
        if self.is_first:
            (self.group / "blkio.throttle.write_bps_device").write_text(f"{number} {self.bytes_per_s}")
        else:
            (self.group / "io.max").write_text(f"{number} wbps={self.bytes_per_s}")
        return path

    def close(self):
        (self.moved_from / "cgroup.procs").write_text(str(os.getpid()))
        super().close()
        self.group.rmdir()


def open_place(name, disk_folder):
    if name == "disk":
        return Folder(name, disk_folder, f"{disk_folder} does not take O_DIRECT")
    if name == "ram":
        return RamDisk(name)
    if name == "tmpfs":
        return Folder(name, "/dev/shm", "tmpfs takes O_DIRECT only since Linux 6.6")
    if name == "zram":
        return Zram(name)
    raise ValueError(name)


def check_io_uring():
    """Raises Unavailable when this kernel or its administrator has no io_uring."""
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(425, 1, ctypes.create_string_buffer(120))  # io_uring_setup
    if ring < 0:
        raise Unavailable(f"io_uring is not available here: {os.strerror(ctypes.get_errno())}")
    os.close(ring)


