#!/usr/bin/env python3
"""Calls go down only: which files of a folder call each other in a circle, and which folders do.

Which file defines a symbol, and which use it, is read from the object files of a build.  A folder may have no circle,
but for those in LEFT, where no more than so many files may be in one.  The aim is that LEFT is empty.
"""

import argparse
import collections
import re
import subprocess
import sys
from pathlib import Path

LEFT = {"engine/door": 2}

OBJECT = re.compile(r"(?:^|/)CMakeFiles/[^/]+\.dir/(.+)\.c\.o$")
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
    """{file: (defined, used)}; a file is named as in the sources."""
    found = {}
    paths = [path for part in PARTS for path in sorted((build / part).rglob("*.c.o"))]
    its = symbols(paths)
    for path in paths:
        match = OBJECT.search(str(path))
        folder = str(path.relative_to(build)).split("/CMakeFiles/")[0]
        found[f"{folder}/{match.group(1)}.c"] = its[str(path)]
    return found


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("build", type=Path)
    files = read_build(parser.parse_args().build)
    if len(files) < 100:
        sys.exit(f"only {len(files)} object files found: is it built?")
    code = 0
    for where, its in find_all(calls(files)).items():
        if sum(len(circle) for circle in its) > LEFT.get(where, 0):
            code = 1
            for circle in its:
                print(f"{where}: these call each other in a circle: {', '.join(circle)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
