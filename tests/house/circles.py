#!/usr/bin/env python3
"""Calls go down only: which files of a folder call each other in a circle, and which folders do.

Which file defines a symbol, and which use it, is read from the object files of a build.  No folder may have a circle.
Of a folder in FLOORS, each file stands on a floor, and neither calls a higher one nor includes a header of it.
"""

import argparse
import collections
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FLOORS = {"engine/volume": ("ground", "set", "ops", "change", "roof")}  # the lowest first

OBJECT = re.compile(r"(?:^|/)CMakeFiles/[^/]+\.dir/(.+)\.c\.o$")
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)
PARTS = ("engine", "daemon", "plugin")
DEFINES = "TDBRVW"


def symbols(paths):
    """{path: (defined, used)}, of those that other files see.  One nm for all: hundreds take minutes on a busy machine."""
    found = {str(path): (set(), set()) for path in paths}
    for line in subprocess.run(["nm", "-A", *paths], check=True, capture_output=True, text=True).stdout.splitlines():
        path, rest = line.split(":", 1)
        words = rest.split()
        if words[-2] == "U":
            found[path][1].add(words[-1])
        elif words[-2] in DEFINES:
            found[path][0].add(words[-1])
    return found


def read_build(build):
    """{file: (defined, used)}; a file is named as in the sources.  Objects of files that are gone stay in a build."""
    names = {}
    for path in (path for part in PARTS for path in sorted((build / part).rglob("*.c.o"))):
        folder = str(path.relative_to(build)).split("/CMakeFiles/")[0]
        name = f"{folder}/{OBJECT.search(str(path)).group(1)}.c"
        if (ROOT / name).exists():
            names[path] = name
    its = symbols(names)
    return {name: its[str(path)] for path, name in names.items()}


def calls(files):
    """{file: files that it calls}.  A name that two programs define, as main, belongs to none."""
    owners = collections.defaultdict(set)
    for name, (defined, _) in files.items():
        for symbol in defined:
            owners[symbol].add(name)
    owner = {symbol: min(names) for symbol, names in owners.items() if len(names) == 1}
    return {name: {owner[symbol] for symbol in used if symbol in owner} - {name}
            for name, (_, used) in files.items()}


def circles(graph):
    """The strongly connected components of more than one node (Tarjan, SIAM J. Comput. 1, 1972)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for called in sorted(graph[node]):
            if called not in index:
                visit(called)
                low[node] = min(low[node], low[called])
            elif called in stack:
                low[node] = min(low[node], index[called])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def folder_of(name):
    return str(Path(name).parent)


def graph_of_folders(graph):
    found = collections.defaultdict(set)
    for name, called in graph.items():
        found[folder_of(name)] |= {folder_of(other) for other in called} - {folder_of(name)}
    return found


def graph_in(graph, folder):
    return {name: {other for other in called if folder_of(other) == folder}
            for name, called in graph.items() if folder_of(name) == folder}


def find_all(graph):
    found = {"folders": circles(graph_of_folders(graph))}
    for folder in sorted({folder_of(name) for name in graph}):
        found[folder] = [[Path(name).stem for name in circle] for circle in circles(graph_in(graph, folder))]
    return {where: its for where, its in found.items() if its}


def included(path):
    """The files of ours that it includes; they are looked for beside it and in engine."""
    for name in INCLUDE.findall(path.read_text()):
        for folder in (path.parent, ROOT / "engine"):
            if (folder / name).exists():
                yield str((folder / name).resolve().relative_to(ROOT))
                break


def includes(house):
    """{file: what it includes}, of what stands on a floor."""
    return {str(path.relative_to(ROOT)): set(included(path))
            for floor in FLOORS[house] for path in sorted((ROOT / house / floor).glob("*.[ch]"))}


def floor_of(name, house):
    """0 is the lowest; None: on no floor of this house."""
    folder, _, floor = folder_of(name).rpartition("/")
    return FLOORS[house].index(floor) if folder == house and floor in FLOORS[house] else None


def climbs(graph, house):
    """[(file, what it uses on a higher floor)]"""
    heights = {name: floor_of(name, house) for name in set(graph).union(*graph.values())}
    return [(name, other) for name, used in sorted(graph.items()) for other in sorted(used)
            if None not in (heights[name], heights[other]) and heights[other] > heights[name]]


def check_floors(graph):
    """What is wrong, one line each."""
    found = []
    for house, floors in FLOORS.items():
        files = {name for name in graph if name.startswith(house + "/")}
        found += [f"{name}: it stands on no floor of {house}" for name in sorted(files) if floor_of(name, house) is None]
        found += [f"{house}/{floor}: no file of it is built" for floor in floors
                  if not any(folder_of(name) == f"{house}/{floor}" for name in files)]
        found += [f"{name} calls up, to {other}" for name, other in climbs(graph, house)]
        found += [f"{name} includes from above, {other}" for name, other in climbs(includes(house), house)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("build", type=Path)
    files = read_build(parser.parse_args().build)
    if len(files) < 100:
        sys.exit(f"only {len(files)} object files found: is it built?")
    graph = calls(files)
    wrong = check_floors(graph)
    for line in wrong:
        print(line)
    code = 1 if wrong else 0
    for where, its in find_all(graph).items():
        code = 1
        for circle in its:
            print(f"{where}: these call each other in a circle: {', '.join(circle)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
