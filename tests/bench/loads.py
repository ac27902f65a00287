"""The loads, and which systems take them."""

from dataclasses import dataclass

EVERY = ("fast-3", "surefoot-3", "surefoot-2", "quorum-3", "quorum-2", "file", "null", "fio-3")
MIRRORS_OF_3 = ("fast-3", "surefoot-3", "quorum-3", "fio-3")


@dataclass(frozen=True)
class Load:
    key: str
    what: str
    rw: str
    block: str = "4k"
    depth: int = 32
    connections: int = 1
    mix: int = 0  # percent of reads
    fsync: int = 0  # a flush after so many writes
    cold: bool = False  # over the whole volume, far more than stays marked in the intent map
    systems: tuple = EVERY

    @property
    def is_sequential(self):
        return not self.rw.startswith("rand")


def _random(rw, depth, connections):
    what = "read" if rw == "randread" else "write"
    over = "" if connections == 1 else f", {connections} connections"
    return Load(f"{rw}-d{depth}" + (f"-c{connections}" if connections > 1 else ""),
                f"4 KiB random {what}, depth {depth}{over}", rw, depth=depth,
                connections=connections)


def full():
    loads = [_random(rw, depth, connections) for rw in ("randwrite", "randread")
             for connections in (1, 4) for depth in (1, 32, 128)]
    loads += [
        Load("write-256k", "256 KiB sequential write, depth 8", "write", block="256k", depth=8),
        Load("read-256k", "256 KiB sequential read, depth 8", "read", block="256k", depth=8),
        Load("mix", "70 % reads, 30 % writes, 4 KiB, depth 32", "randrw", mix=70),
        Load("fsync", "4 KiB random write, flush every 16, depth 32", "randwrite", fsync=16),
        Load("cold", "4 KiB random write over the whole volume, depth 32", "randwrite", cold=True,
             systems=MIRRORS_OF_3),
    ]
    return loads


QUICK = ("randwrite-d1", "randwrite-d32", "randwrite-d32-c4", "randread-d32", "write-256k", "cold")
QUICK_SYSTEMS = ("fast-3", "surefoot-3", "quorum-3", "fio-3", "null")

# A disk in memory is there for the bars.
RAM_DISK = ("randwrite-d1", "randread-d1", "randwrite-d32", "randread-d32", "randwrite-d32-c4",
            "randread-d32-c4", "write-256k", "read-256k")

# In memory the disk is no limit, so it is the software that is compared.
IN_MEMORY = ("randwrite-d1", "randwrite-d32", "randwrite-d32-c4", "randread-d32")
IN_MEMORY_QUICK = ("randwrite-d32",)
