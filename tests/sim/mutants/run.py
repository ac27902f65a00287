#!/usr/bin/env python3
"""Breaks one rule at a time and shows that the simulator sees it.

Each *.patch here is a unified diff of engine/ whose first line names the rule that it breaks. It is
applied to a copy of the sources, built with the simulator, and run seed after seed until one fails.
A patch that does not apply, or that no seed catches, fails the whole run.

A rule that only a rare world shows says on its second line from which seed on to look:
"# seeds from N"; or of which draw every world is to be: "# always NAME", "# always NAME seeds from N"; one
that busy runs show, and no others: "# busy", or "# busy seeds from N"."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PARTS = ["base", "volume", "assembly", "ondisk", "config"]
LIBRARIES = ["liburing", "inih", "jansson", "libisal", "uuid"]
SEEDS_OF_ALL = 120
SEEDS_BUSY = 300  # they take longer
WITHOUT = [word for draw in ("all_gone_dead", "flush_errors_anywhere", "fua_errors", "late_openings",
                             "suspend_storm", "newcomers", "read_storm", "give_up_storm", "bad_storm",
                             "forced", "heads", "answers_beside_a_failed_flush")
           for word in ("--no-draw", draw)]
# Later than the seeds that the patches name: these would be other worlds.
SINCE = ("torn_resets", "torn_unreadable", "late_errors", "late_copies", "silent_forced")
FLAGS = ["-std=gnu17", "-O1", "-g", "-w", "-D_GNU_SOURCE"]


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


class Build:
    def __init__(self, folder, compiler, flags=FLAGS):
        self.folder = folder
        self.compiler = compiler
        self.cflags = flags + output_of("pkg-config", "--cflags", *LIBRARIES)
        self.libs = output_of("pkg-config", "--libs", *LIBRARIES) + ["-lpthread"]
        self.sources = [p for part in PARTS for p in sorted((ROOT / "engine" / part).rglob("*.c"))]
        self.sources += sorted((ROOT / "tests/sim").glob("*.c"))

    def compile(self, source, engine, into):
        made = into / (str(source.relative_to(ROOT)).replace("/", "_") + ".o")
        real = source
        if source.is_relative_to(ROOT / "engine"):
            real = engine / source.relative_to(ROOT / "engine")
        self.compile_as(real, engine, made)
        return made

    def compile_as(self, real, engine, made, *more):
        subprocess.run([self.compiler, *self.cflags, *more, f"-I{engine}", f"-I{ROOT}/include",
                        f"-I{ROOT}/tests", "-c", str(real), "-o", str(made)], check=True)

    def link(self, objects, program):
        subprocess.run([self.compiler, "-Wl,--wrap=sf_state_move", *map(str, objects), *self.libs,
                        "-o", str(program)], check=True)

    def base(self, pool):
        into = self.folder / "base"
        into.mkdir(parents=True)
        engine = ROOT / "engine"
        jobs = {s: pool.submit(self.compile, s, engine, into) for s in self.sources}
        self.objects = {s: job.result() for s, job in jobs.items()}

    def mutant(self, patch):
        """The program with this patch; None: it does not apply."""
        into = self.folder / patch.stem
        into.mkdir()
        shutil.copytree(ROOT / "engine", into / "engine")
        r = subprocess.run(["patch", "-p1", "--batch", "--no-backup-if-mismatch", "-d", str(into),
                            "-i", str(patch)], capture_output=True, text=True)
        if r.returncode != 0:
            print(r.stdout, end="")
            return None
        changed = re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.M)
        headers = any(name.endswith(".h") for name in changed)
        objects = []
        for source in self.sources:
            name = str(source.relative_to(ROOT))
            if headers or name in changed:
                objects.append(self.compile(source, into / "engine", into))
            else:
                objects.append(self.objects[source])
        self.link(objects, into / "sf-sim")
        return into / "sf-sim"


class Result:
    def __init__(self, patch):
        self.patch = patch
        lines = patch.read_text().splitlines()
        self.rule = lines[0].lstrip("# ")
        where = re.fullmatch(r"# (busy)? ?(?:seeds from (\d+))?", lines[1])
        always = re.fullmatch(r"# always (\w+)(?: seeds from (\d+))?", lines[1])
        self.always = always[1] if always else None
        self.busy = bool(where and where[1])
        where = where or always
        self.first = int(where[2]) if where and where[2] else None
        self.caught = False
        self.seeds = 0
        self.said = ""
        self.took = 0.0


def try_one(build, patch, args):
    result = Result(patch)
    began = time.monotonic()
    program = build.mutant(patch)
    if program is None:
        result.said = "the patch does not apply any more"
        return result
    where = args.seed if result.first is None else result.first
    # First a few worlds with everything that is drawn, which show what concerns flushes and suspended
    # requests at once; then worlds without, where the other faults are not hidden among those.
    since = [word for draw in SINCE if draw != result.always for word in ("--no-draw", draw)]
    worlds = [(args.seed, SEEDS_OF_ALL, []), (where, args.runs, WITHOUT + since)]
    if result.always:
        worlds = [(where, args.runs, ["--draw", result.always, "--always", result.always, *since])]
    if result.busy:
        worlds = [(where, min(args.runs, SEEDS_BUSY), ["--busy"])]
    for first, runs, draws in worlds:
        run = subprocess.run([str(program), "--seed", str(first), "--runs", str(runs), "--quiet",
                              *draws], capture_output=True, text=True)
        failure = re.search(r"^seed (\d+) FAILED after \d+ requests: (.*)", run.stdout, re.M)
        if failure:
            break
    result.took = time.monotonic() - began
    if failure:
        result.caught = True
        result.seeds = int(failure[1]) - first + 1
        result.said = failure[2]
    else:
        result.said = f"not seen in {runs} seeds" if run.returncode == 0 else run.stderr
    if result.caught and not args.keep:
        shutil.rmtree(program.parent)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutants, without .patch; none: all of them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=2000, help="seeds until it counts as not caught")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/mutants")
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"))
    parser.add_argument("--keep", action="store_true", help="the programs, to look at a failure")
    args = parser.parse_args()

    patches = [HERE / f"{name}.patch" for name in args.names] or sorted(HERE.glob("*.patch"))
    missing = [p.name for p in patches if not p.exists()]
    if missing:
        sys.exit(f"no such mutant: {', '.join(missing)}")
    shutil.rmtree(args.folder, ignore_errors=True)
    build = Build(args.folder, args.cc)
    lock = threading.Lock()
    results = []

    def run_and_tell(patch):
        result = try_one(build, patch, args)
        with lock:
            results.append(result)
            rare = "" if result.first is None else f" from {result.first} on"
            state = f"caught by seed {result.seeds:4}{rare}" if result.caught else "NOT CAUGHT"
            print(f"{patch.stem:34} {state}  {result.took:5.1f} s  {result.rule}", flush=True)
            print(f"    {result.said[:150]}", flush=True)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        build.base(pool)
        list(pool.map(run_and_tell, patches))
    caught = sum(r.caught for r in results)
    print(f"{caught} caught, {len(results) - caught} not")
    return 0 if caught == len(results) and results else 1


if __name__ == "__main__":
    sys.exit(main())
