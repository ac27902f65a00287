"""What the maps on disk cost: this build beside one without them, measured in turns on the same disk.

  hot    4 KiB random writes at depth 32 over extents that have their intent
  first  one write at depth 1 into each extent: the first one, and the second
  cold   as hot, but an extent loses its intent at once (hot_extents=16, intent_delay=10ms)

The build without maps is of a copy of the sources, with a patch from the simulator's mutants: it keeps no promise after a
crash.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import fio
from rig import MIB, Rig, plugin_of

SIZE = 1024 * MIB
EXTENT = MIB
WITHOUT_MAPS = ROOT / "tests/sim/mutants/no-intent.patch"
EVERY_DEADLINE = "2s"  # a slow moment of this disk is no reason to take a leg out


class Subject:
    """One volume, served by the one build and by the other in turns: files of their own would lie in
    different places of the disk, and that alone can be a tenth."""

    def __init__(self, builds):
        self.builds = builds
        self.rig = Rig(builds["with"])
        self.volume = self.rig.volume(
            self.rig.file_legs(), SIZE, write_deadline=EVERY_DEADLINE,
            read_deadline=EVERY_DEADLINE, flush_deadline=EVERY_DEADLINE).create()
        self.start()
        self.fio("write", bs="1M", depth=8, whole=True)

    def start(self):
        self.server = self.volume.serve(threads=64)
        self.volume.wait_all_in_sync(60)

    def use(self, name):
        """A clean stop, which leaves no intent, and a start."""
        self.server.stop(60)
        self.rig.plugin = plugin_of(self.builds[name])
        self.start()

    def configure(self, **settings):
        self.volume.settings.update(settings)
        self.volume.write_conf()

    def fio(self, rw, bs="4k", depth=32, seconds=None, whole=False, io_size=None):
        words = ["fio", "--name=load", "--ioengine=nbd", f"--uri={self.server.uri}", f"--rw={rw}",
                 f"--bs={bs}", f"--iodepth={depth}", f"--size={SIZE}", "--randrepeat=0",
                 "--random_generator=tausworthe64", "--percentile_list=50:99:99.9", "--thread",
                 "--lat_percentiles=1", "--clat_percentiles=0"]
        if whole:
            words += ["--end_fsync=1"]
        if io_size:  # or a strided load wraps around until it has written the whole
            words += [f"--io_size={io_size}"]
        if seconds:
            words += [f"--runtime={int(seconds * 1000)}ms", "--time_based"]
        return fio.run(self.rig, words, 60)["write"]

    def touch_every_extent(self):
        """One write into each: afterwards all have intent."""
        extents = SIZE // EXTENT
        done = self.fio(f"write:{EXTENT - 4096}", depth=1, io_size=extents * 4096)
        assert done["requests"] == extents, f"{done['requests']} writes into {extents} extents"
        return done

    def close(self):
        self.rig.close()


def build_without_maps(folder):
    """The copy keeps the times of its files, so that a second build has little to do."""
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns("build", ".git"))
    for command in (["patch", "-p1", "-F0", "--batch", "-d", source, "-i", WITHOUT_MAPS],
                    ["cmake", "-G", "Ninja", "-S", source, "-B", folder, "-DSF_TESTS=OFF"],
                    ["ninja", "--quiet", "-C", folder]):
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return folder


NAMES = ("with", "without")


def in_turns(subject, rounds, measure):
    """[[with, without], ...]: the order changes from round to round."""
    pairs = []
    for number in range(rounds):
        found = {}
        for name in NAMES if number % 2 == 0 else NAMES[::-1]:
            subject.use(name)
            found[name] = measure(subject)
        pairs.append([found[name] for name in NAMES])
    return pairs


def compare(what, pairs, key):
    values = [[pair[i][key] for pair in pairs] for i in range(2)]
    ratio = statistics.median(a / b for a, b in zip(*values))
    with_maps, without = (statistics.median(side) for side in values)
    print(f"{what:44} {with_maps:10.1f} {without:10.1f} {ratio:8.3f}", flush=True)
    return {"with": with_maps, "without": without, "ratio": ratio, "rounds": values}


def measure_hot(subject, rounds, seconds):
    def once(subject):
        subject.touch_every_extent()
        return subject.fio("randwrite", seconds=seconds)

    pairs = in_turns(subject, rounds, once)
    return {"hot": compare("hot: 4 KiB random writes per second, depth 32", pairs, "per_s")}


def measure_first(subject, rounds):
    def once(subject):
        return {"first": subject.touch_every_extent(), "second": subject.touch_every_extent()}

    pairs = in_turns(subject, rounds, once)
    found = {}
    for which in ("first", "second"):
        for percentile in ("p50_us", "p99_us"):
            one = [[side[which] for side in pair] for pair in pairs]
            found[f"{which}_{percentile}"] = compare(
                f"{which} write into an extent, depth 1, {percentile[:-3]}, us", one, percentile)
    return found


def measure_cold(subject, rounds, seconds):
    subject.configure(hot_extents=16, intent_delay="10ms")
    pairs = in_turns(subject, rounds, lambda subject: subject.fio("randwrite", seconds=seconds))
    return {"cold": compare("cold: 4 KiB random writes per second, depth 32", pairs, "per_s")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--parts", default="hot,first,cold")
    parser.add_argument("--json", help="write the numbers there too")
    arguments = parser.parse_args()

    without = build_without_maps(Path(arguments.build).resolve() / "no-intent")
    subject = Subject({"with": arguments.build, "without": str(without)})
    found = {}
    try:
        print(f"{machine_text()}, 3 legs, files of {SIZE // MIB} MiB under O_DIRECT")
        print(f"{'median of ' + str(arguments.rounds) + ' rounds in turns':44} {'with':>10} "
              f"{'without':>10} {'ratio':>8}")
        parts = arguments.parts.split(",")
        if "hot" in parts:
            found.update(measure_hot(subject, arguments.rounds, arguments.seconds))
        if "first" in parts:
            found.update(measure_first(subject, max(1, arguments.rounds // 2)))
        if "cold" in parts:
            found.update(measure_cold(subject, arguments.rounds, arguments.seconds))
    finally:
        subject.close()
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1) + "\n")
    return 0


def machine_text():
    return f"{os.cpu_count()} CPUs, Linux {os.uname().release}"


if __name__ == "__main__":
    sys.exit(main())
