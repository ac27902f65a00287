"""What is measured: each is started once and then stays, idle while another one has its turn."""

import contextlib
import os
from pathlib import Path

import fio
from rig import DATA_OFFSET, MIB, FuseLeg, Volume

THREADS = 64  # nbdkit's; one for each request in flight
CLIENTS = 8

# Loads are pieces of one size, so that a system's files need not be larger than what it is asked.


def process_memory(pid, field="VmRSS"):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def process_cpu_s(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def process_switches(pid):
    """Context switches of all threads; of those that have ended nothing is known."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for line in (task / "status").read_text().splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total


class Leg:
    """A file or device that the place made."""

    def __init__(self, name, path):
        self.name = name
        self.path = self.image = path

    def prepare(self, size):
        pass


class System:
    uri = None
    process = None
    over_nbd = True

    def __init__(self, rig, name, size):
        self.rig = rig
        self.name = name
        self.size = size

    def command(self, load, size, seconds, *more):
        return fio.over_nbd(self.uri, load, size, seconds, *more)

    def measure(self, load, size, seconds):
        return fio.run(self.rig, self.command(load, size, seconds), seconds)

    def write_out(self):
        self.rig.run("fio", "--name=fill", "--ioengine=nbd", f"--uri={self.uri}", "--rw=write",
                     f"--bs={MIB}", "--iodepth=8", f"--size={self.size}", "--end_fsync=1",
                     "--output-format=json", seconds=300)

    def stop(self):
        if self.process:
            self.rig.reap(self.process, 15)
            self.process = None


class Surefoot(System):
    def __init__(self, rig, name, legs, size, threads=THREADS, door="nbdkit", **settings):
        super().__init__(rig, name, size)
        self.door = door
        settings.setdefault("write_deadline", "100ms")
        settings.setdefault("read_deadline", "100ms")
        settings.setdefault("flush_deadline", "200ms")
        self.volume = Volume(rig, name, legs, size, settings, {})
        self.volume.create()
        self.threads = threads
        self.start()

    def start(self):
        self.server = self.volume.serve(threads=self.threads)
        self.uri = self.server.uris[self.door]
        self.process = self.server.process
        self.volume.wait_all_in_sync(120)

    def stop(self):
        self.server.stop(60)


class OtherDoor(System):
    """The same server, volume and files through the other socket: of two volumes each has its own files, and
    where these lie makes a difference."""

    def __init__(self, other, name):
        super().__init__(other.rig, name, other.size)
        self.volume, self.process = other.volume, other.process
        self.uri = next(uri for door, uri in other.server.uris.items() if door != other.door)

    def stop(self):
        pass


class QemuNbd(System):
    """The quorum driver, which writes to all children.  Reads come from the first one alone
    (read-pattern=fifo): its other way, to read all and compare, is slower."""

    def __init__(self, rig, name, paths, size, offset=0):
        super().__init__(rig, name, size)
        self.socket = rig.folder / f"{name}.sock"
        self.uri = f"nbd+unix:///?socket={self.socket}"
        votes = len(paths) // 2 + 1 if len(paths) > 2 else 1
        node = [f"driver=quorum,vote-threshold={votes},read-pattern=fifo"]
        for number, path in enumerate(paths):
            child = f"children.{number}"
            node.append(
                f"{child}.driver=raw,{child}.size={size},{child}.offset={offset},"
                f"{child}.file.driver={'host_device' if path.is_block_device() else 'file'},"
                f"{child}.file.filename={path},{child}.file.aio=io_uring,"
                f"{child}.file.cache.direct=on,{child}.cache.direct=on")
        self.process = rig.spawn(["qemu-nbd", "--persistent", f"--shared={CLIENTS}",
                                  f"--socket={self.socket}", "--image-opts", ",".join(node)])
        rig.on_close(self.stop)
        rig.wait_until(self.socket.exists, "qemu-nbd", process=self.process)


class Nbdkit(System):
    """nbdkit with a plugin of its own: `file` on one file, or `null`, which does nothing at all."""

    def __init__(self, rig, name, words, size):
        super().__init__(rig, name, size)
        self.socket = rig.folder / f"{name}.sock"
        self.uri = f"nbd+unix:///?socket={self.socket}"
        self.socket.unlink(missing_ok=True)  # an earlier one of that name leaves it behind
        self.process = rig.spawn(["nbdkit", "-f", "-U", self.socket, f"--threads={THREADS}", *words])
        rig.on_close(self.stop)
        rig.wait_until(self.socket.exists, "nbdkit", process=self.process)


class Straight(System):
    """fio on all the files at once: what the disk gives.  A mirror's request is one to each file, so
    the sum is divided by their number; a read goes to one only, so there it is not."""

    over_nbd = False

    def __init__(self, rig, name, paths, size):
        super().__init__(rig, name, size)
        self.paths = paths

    def measure(self, load, size, seconds):
        result = fio.run(self.rig, fio.straight(self.paths, load, size, seconds), seconds)
        writes = result.get("write")
        if writes:
            result["per_s"] -= writes["per_s"]
            for key in ("per_s", "mib_per_s"):
                writes[key] = round(writes[key] / len(self.paths), 1)
            result["per_s"] += writes["per_s"]
        return result

    def write_out(self):
        for path in self.paths:
            self.rig.run("fio", "--name=fill", f"--filename={path}", "--ioengine=io_uring",
                         "--direct=1", "--rw=write", f"--bs={MIB}", "--iodepth=8",
                         f"--size={self.size}", "--end_fsync=1", "--output-format=json",
                         seconds=300)


NAMES = {
    "fast-3": "Surefoot, 3 legs, fast door",
    "surefoot-3": "Surefoot, 3 legs",
    "fast-2": "Surefoot, 2 legs, fast door",
    "surefoot-2": "Surefoot, 2 legs",
    "quorum-3": "QEMU quorum, 3 children",
    "quorum-2": "QEMU quorum, 2 children",
    "file": "nbdkit file, 1 file",
    "null": "nbdkit null",
    "fio-3": "fio on 3 files",
    "fio-2": "fio on 2 files",
}


def start(rig, place, name, size, write_out=True, started=()):
    """Started, and everything that it will be asked for written out."""
    kind, _, count = name.partition("-")
    if name == "surefoot-3" and "fast-3" in started:
        return OtherDoor(started["fast-3"], name)
    if kind in ("surefoot", "fast"):
        legs = [Leg("abcdefgh"[i], place.make(DATA_OFFSET + size)) for i in range(int(count))]
        system = Surefoot(rig, f"{place.name}-{name}", legs, size,
                          door="fast" if kind == "fast" else "nbdkit")
    elif kind == "quorum":
        paths = [place.make(size) for _ in range(int(count))]
        system = QemuNbd(rig, f"{place.name}-{name}", paths, size)
    elif kind == "fio":
        system = Straight(rig, f"{place.name}-{name}", [place.make(size) for _ in range(int(count))],
                          size)
    elif kind == "file":
        # cache=none is what its manual says against filling the page cache; it has no O_DIRECT.
        system = Nbdkit(rig, f"{place.name}-{name}", ["file", place.make(size), "cache=none"], size)
    elif kind == "null":
        return Nbdkit(rig, f"{place.name}-{name}", ["null", f"size={size}"], size)
    else:
        raise ValueError(name)
    if write_out:
        system.write_out()
    return system


def fuse_leg(rig, name, size, *parameters):
    """A leg that can be frozen; with `delay` parameters one that is slow."""
    leg = FuseLeg(rig, name, filters=["delay"] if parameters else [], parameters=parameters)
    leg.prepare(size)
    return leg
