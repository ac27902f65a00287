#!/usr/bin/env python3
"""A file has 600 lines at most and a function of the programs 60, tests being files too."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_MOST, FUNCTION_MOST = 600, 60

NAME = re.compile(r"^(\w+)\(")


def functions(lines):
    """(name, lines) of each; clang-format has a function's name and its last brace at the beginning of a line."""
    name = begin = None
    for number, line in enumerate(lines):
        found = NAME.match(line)
        if found:
            name, begin = found[1], number
        elif line == "}" and name:
            yield name, number - begin + 1
            name = None


def files():
    listed = subprocess.run(["git", "ls-files", "*.c", "*.h", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split()]
    parts = ("engine", "include", "plugin", "daemon", "tests", "docs")  # sources without their history
    return [path for part in parts for path in sorted((ROOT / part).rglob("*.[chp]*")) if path.suffix in (".c", ".h", ".py")]


def main():
    wrong = []
    for path in files():
        if not path.exists():
            continue
        name = str(path.relative_to(ROOT))
        lines = path.read_text().splitlines()
        if len(lines) > FILE_MOST:
            wrong.append(f"{name}: {len(lines)} lines, {FILE_MOST} at most")
        if path.suffix == ".c" and not name.startswith("tests/"):
            wrong += [f"{name}: {function} has {length} lines, {FUNCTION_MOST} at most"
                      for function, length in functions(lines) if length > FUNCTION_MOST]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
