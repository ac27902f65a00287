#!/usr/bin/env python3
"""Breaks engine/volume and engine/assembly mechanically, one token or statement at a time, and counts
how many of the breaks the simulator sees.

The list is the same for the same sources; each mutant is called FILE:LINE:COLUMN:KIND:

  and-or      && and || are swapped           not         a ! is dropped
  boundary    < and <=, > and >= are swapped  bool        true and false are swapped
  negate      a comparison is turned round    constant    an integer is one larger
  plus-minus  + N and - N are swapped         step        ++ and -- are swapped
  call        a statement that only calls is dropped
  assign      a statement that only assigns is dropped

Each is compiled and meets the unit tests of both folders, the cheap ones of its own folder first; then, if
none fails, the seeds of CI, the heavy ones last, those of comparisons and busy runs, and seeds.txt.  The
first failure ends it; what takes too long has failed.  One that compiles to the same code, or that
equivalent.txt names, is equivalent: it breaks no rule.  The score is the killed among all that are not
equivalent.

A sample of one --seed is the same mutants as long as their functions stay: each has its own place in it.

Results are kept in build/mechanical/results.jsonl as they come, so that a run that was ended goes on
where it was; what was found with other sources is not used, unless --any-sources says so."""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

from operators import mutants_of
from run import HERE, ROOT, Build

PARTS = ["volume", "assembly"]
FLAGS = ["-std=gnu17", "-O2", "-w", "-D_GNU_SOURCE", "-fPIC", "-fno-semantic-interposition"]
SEEDS = "1:700,10001:1200"  # as CI has them: see tests/sim/CMakeLists.txt
BUSY = "146:190"
SCRUBS = "20001:300"
QUICK = "1:60"
SEED_MS = 10000  # a seed that takes longer has failed
HEAVY_MS = 120  # a seed that takes longer is run after the others
MEMORY_BYTES = 4 << 30
KILLED = ("simulator", "unit tests")


def sources():
    return [p for part in PARTS for p in sorted((ROOT / "engine" / part).rglob("*.c"))]


def all_mutants(only):
    found = []
    for path in sources():
        file = str(path.relative_to(ROOT))
        if not only or any(file.endswith(name) for name in only):
            found += mutants_of(file, path.read_text())
    return found


def state_of_sources():
    digest = hashlib.sha256()
    for folder in ("engine", "include", "tests/sim", "tests/unit/volume", "tests/unit/assembly"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def blocks_of(text):
    """The blocks of equivalent.txt: a line with file, function and kind, the indented line of source, and
    the reason."""
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if any(lines):
            yield lines


def read_equivalent():
    """{key: reason} of equivalent.txt."""
    return {"\n".join(lines[:2]): " ".join(line.strip() for line in lines[2:])
            for lines in blocks_of((HERE / "equivalent.txt").read_text())}


def stale_of(text, keys):
    """What is wrong with equivalent.txt: an entry that names no mutant that there is judges nothing, and
    what was judged there may have come back in another form."""
    seen = set()
    for lines in blocks_of(text):
        key = "\n".join(lines[:2])
        if len(lines) < 3:
            yield f"{lines[0]}\n  lacks the line of source or the reason"
        elif key not in keys:
            yield f"{key}\n  no such mutant any more: the file, the function or the line has changed"
        elif key in seen:
            yield f"{key}\n  is judged twice"
        seen.add(key)


def check():
    text, keys = (HERE / "equivalent.txt").read_text(), {m.key for m in all_mutants(None)}
    key = min(keys)
    spoilt = [key + "x\n  why", key, f"{key}\n  why\n\n{key}\n  why"]
    if not all(len(list(stale_of(wrong, keys))) == 1 for wrong in spoilt):
        sys.exit("the check does not see a stale entry")
    stale = list(stale_of(text, keys))
    print("\n".join(stale) or "each entry of equivalent.txt has its mutant")
    return 1 if stale else 0


def is_used(source, test):
    """A rig of some tests only, as flush_rig.c, is included by name."""
    some = source.stem.endswith("_rig") and source.with_name("rig.c").exists()
    return (not re.match(r"test[-_]", source.name)
            and (not some or f'#include "{source.stem}.h"' in test.read_text()))


class Units:
    """The unit tests of the parts, with the engine in a library: one link for all of them."""

    def __init__(self, build, pool, into):
        self.build = build
        self.into = into
        into.mkdir()
        tests = [p for part in PARTS for p in sorted((ROOT / "tests/unit" / part).glob("*.c"))]
        made = {t: into / (t.parent.name + "_" + t.stem + ".o") for t in tests}
        list(pool.map(lambda t: build.compile_as(t, ROOT / "engine", made[t]), tests))
        self.link(build.objects, into)
        self.took = {}
        self.killed = collections.Counter()
        for test, made_of in made.items():
            if re.match(r"test[-_]", test.name):
                rig = [o for t, o in made.items() if t.parent == test.parent and is_used(t, test)]
                name = f"{test.parent.name}/{test.stem}"
                subprocess.run([build.compiler, *map(str, [made_of, *rig]), f"-L{into}", "-lbroken",
                                *build.libs, "-lcmocka", "-o", str(self.program(name))], check=True)
                began = time.monotonic()
                if not self.passes(name, into, 300):
                    sys.exit(f"{name} fails without a mutant")
                self.took[name] = time.monotonic() - began

    def program(self, name):
        return self.into / name.replace("/", "_")

    def link(self, objects, into):
        engine = [o for s, o in objects.items() if s.is_relative_to(ROOT / "engine")]
        subprocess.run([self.build.compiler, "-shared", *map(str, engine), *self.build.libs,
                        "-o", str(into / "libbroken.so")], check=True)

    def passes(self, name, into, seconds):
        try:
            ended = subprocess.run([str(self.program(name))], capture_output=True, timeout=seconds,
                                   preexec_fn=limit, env=os.environ | {"LD_LIBRARY_PATH": str(into)})
            return ended.returncode in (0, 77)
        except subprocess.TimeoutExpired:
            return False

    def first_failure(self, file, objects, into):
        """Those first that killed others of the same file.  The assembly never calls the volume."""
        part = file.split("/")[1]
        self.link(objects, into)
        asked = [n for n in self.took if part == "assembly" or n.startswith(part)]
        asked.sort(key=lambda n: (not n.startswith(part), -self.killed[file, n], self.took[n]))
        for name in asked:
            if not self.passes(name, into, 20 + 10 * self.took[name]):
                self.killed[file, name] += 1
                return name
        return None


def limit():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def seeds_of(text):
    spans = [span.split(":") for span in text.split(",")]
    return [seed for first, runs in spans for seed in range(int(first), int(first) + int(runs))]


def order_seeds(args, build, state):
    """A file with all seeds, those last that take the unbroken program long."""
    heavy_file, wanted = args.folder / "heavy.json", seeds_of(args.seeds)
    known = json.loads(heavy_file.read_text()) if heavy_file.exists() else {}
    if known.get("state") != state or known.get("seeds") != args.seeds:
        (args.folder / "seeds").write_text("\n".join(map(str, wanted)))
        build.link(build.objects.values(), build.folder / "sf-sim")
        ran = subprocess.run([str(build.folder / "sf-sim"), "--list", str(args.folder / "seeds"),
                              "--limit", str(HEAVY_MS), "--jobs", str(args.jobs), "--keep-going",
                              "--quiet"], capture_output=True, text=True)
        found = re.findall(r"^seed (\d+) FAILED .*?: (.*)", ran.stdout, re.M)
        wrong = [(seed, said) for seed, said in found if not said.startswith("signal 27")]
        if wrong:
            sys.exit(f"seed {wrong[0][0]} fails without a mutant: {wrong[0][1]}")
        known = {"state": state, "seeds": args.seeds, "heavy": [int(seed) for seed, _ in found]}
        heavy_file.write_text(json.dumps(known))
    heavy = set(known["heavy"])
    wanted.sort(key=lambda seed: seed in heavy)
    (args.folder / "seeds").write_text("\n".join(map(str, wanted)))
    return args.folder / "seeds"


class Tester:
    def __init__(self, build, args, units, seeds):
        self.build = build
        self.seeds = seeds
        self.args = args
        self.units = units
        self.plain = {}  # the unbroken objects, compiled as the broken ones are
        self.lock = threading.Lock()

    def compile(self, file, text, into):
        """The same text gives the same bytes, wherever it lies."""
        real = into / pathlib.Path(file).name
        real.write_text(f'#line 1 "{file}"\n{text}')
        made = into / "broken.o"
        self.build.compile_as(real, ROOT / "engine", made, f"-ffile-prefix-map={into}=.")
        return made

    def plain_bytes(self, file, into):
        with self.lock:
            if file not in self.plain:
                self.plain[file] = self.compile(file, (ROOT / file).read_text(), into).read_bytes()
            return self.plain[file]

    def simulate(self, program):
        asked = [["--list", str(self.seeds)]]
        for spans, words in (self.args.scrubs, ["--always", "scrubs"]), (self.args.busy, ["--busy"]):
            for span in filter(None, spans.split(",")):
                first, runs = span.split(":")
                asked.append([*words, "--seed", first, "--runs", runs])
        if self.args.known:
            lines = (ROOT / "tests/sim/seeds.txt").read_text().splitlines()
            words = [line.split() for line in lines if line[:1].isdigit()]
            asked += [["--seed", seed, *more] for seed, _, *more in words]
        return next(filter(None, (self.run(program, *words) for words in asked)), None)

    def run(self, program, *words):
        ran = subprocess.run([str(program), *words, "--limit", str(SEED_MS), "--jobs", "1",
                              "--quiet"], capture_output=True, text=True, preexec_fn=limit)
        failed = re.search(r"^seed (\d+) FAILED after \d+ requests: (.*)", ran.stdout, re.M)
        if failed:
            return int(failed[1]), failed[2]
        return None if ran.returncode == 0 else (0, ran.stderr[-200:])

    def test(self, mutant, before):
        """{by: what killed it, seed, said}; by None: it survived, as it may have done before with fewer
        seeds."""
        into = self.build.folder / re.sub(r"\W", "_", mutant.id)
        into.mkdir(exist_ok=True)
        try:
            plain = self.plain_bytes(mutant.file, into)
            try:
                broken = self.compile(mutant.file, mutant.apply((ROOT / mutant.file).read_text()), into)
            except subprocess.CalledProcessError:
                return {"by": "compiler"}
            if broken.read_bytes() == plain:
                return {"by": "same code"}
            objects = dict(self.build.objects)
            objects[ROOT / mutant.file] = broken
            if self.units and not (before and before["unit"]):
                name = self.units.first_failure(mutant.file, objects, into)
                if name:
                    return {"by": "unit tests", "said": name}
            self.build.link(objects.values(), into / "sf-sim")
            failure = self.simulate(into / "sf-sim")
            if failure:
                return {"by": "simulator", "seed": failure[0], "said": failure[1][:200]}
            return {"by": None}
        finally:
            shutil.rmtree(into, ignore_errors=True)


def read_results(path, state, any_sources):
    results = {}
    if path.exists():
        for line in path.read_text().splitlines():
            result = json.loads(line)
            if any_sources or result["state"] == state:
                results[result["key"]] = result
    return results


def is_wanted(result, args):
    """Is there more to be asked of it?"""
    if result is None:
        return True
    return result["by"] is None and (args.unit and not result["unit"] or result["seeds"] != args.seeds)


def print_score(mutants, results, judged):
    known = [(m, results[m.key]) for m in mutants if m.key in results]
    count = {}
    survivors = []
    for mutant, result in known:
        by = result["by"]
        if by is None and mutant.key in judged:
            by = "judged equivalent"
        count[by] = count.get(by, 0) + 1
        if by is None:
            survivors.append((mutant, result))
    for mutant, result in survivors:
        print(f"{mutant.key}\n    {mutant.id}, instead: {mutant.new!r}\n")
    killed = sum(count.get(by, 0) for by in KILLED)
    whole = killed + len(survivors)
    print(f"{len(known)} of {len(mutants)} tried: " +
          ", ".join(f"{n} {by or 'survived'}" for by, n in sorted(count.items(), key=str)))
    if whole:
        print(f"score: {killed} killed of {whole} that are not equivalent: {100 * killed / whole:.1f} %")


def run_all(args, mutants, results, state):
    build = Build(args.folder / "work", args.cc, FLAGS)
    shutil.rmtree(build.folder, ignore_errors=True)
    lock = threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        build.base(pool)
        tester = Tester(build, args, Units(build, pool, build.folder / "unit") if args.unit else None,
                        order_seeds(args, build, state))

        def test_and_keep(mutant):
            result = tester.test(mutant, results.get(mutant.key))
            result |= {"key": mutant.key, "id": mutant.id, "state": state, "seeds": args.seeds,
                       "unit": args.unit}
            with lock:
                results[mutant.key] = result
                with (args.folder / "results.jsonl").open("a") as file:
                    file.write(json.dumps(result) + "\n")
                said = f"seed {result['seed']}" if "seed" in result else result.get("said", "")
                print(f"{mutant.id:52} {result['by'] or 'SURVIVED'} {said}", flush=True)

        list(pool.map(test_and_keep, mutants))
    shutil.rmtree(build.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, metavar="N", help="so many of them, at random")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (1)")
    parser.add_argument("--only", action="append", metavar="FILE", help="mutants of this file only")
    parser.add_argument("--id", action="append", metavar="ID", help="this mutant only")
    parser.add_argument("--seeds", default=SEEDS, help=f"FIRST:RUNS,... ({SEEDS})")
    parser.add_argument("--busy", default=BUSY, help=f"of busy runs, FIRST:RUNS,... ({BUSY})")
    parser.add_argument("--scrubs", default=SCRUBS, help=f"of runs that compare, the same way ({SCRUBS})")
    parser.add_argument("--no-unit", dest="unit", action="store_false", help="the simulator alone")
    parser.add_argument("--quick", action="store_true",
                        help=f"of the simulator the seeds {QUICK} only: a first look")
    parser.add_argument("--any-sources", action="store_true", help="use results of other sources too")
    parser.add_argument("--list", action="store_true", help="all, and nothing else")
    parser.add_argument("--score", action="store_true", help="of what is known; nothing is run")
    parser.add_argument("--check", action="store_true", help="has each entry of equivalent.txt its mutant?")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/mechanical")
    parser.add_argument("--cc", default=os.environ.get("CC", "cc"))
    args = parser.parse_args()
    if args.check:
        return check()
    args.known = not args.quick
    if args.quick:
        args.seeds, args.busy, args.scrubs = QUICK, "", ""

    mutants = all_mutants(args.only)
    if args.id:
        mutants = [m for m in mutants if m.id in args.id]
    if args.sample is not None:
        mutants = sorted(mutants, key=lambda m: m.place(args.seed))[:args.sample]
    if not mutants:
        sys.exit("no such mutant")
    if args.list:
        for mutant in mutants:
            print(f"{mutant.id:52} {mutant.text}  ->  {mutant.new!r}")
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    state, judged = state_of_sources(), read_equivalent()
    results = read_results(args.folder / "results.jsonl", state, args.any_sources)
    if not args.score:
        wanted = [m for m in mutants if m.key not in judged and is_wanted(results.get(m.key), args)]
        for key in judged:
            results.setdefault(key, {"by": None})
        if wanted:
            run_all(args, wanted, results, state)
    print_score(mutants, results, judged)
    return 0


if __name__ == "__main__":
    sys.exit(main())
