#!/usr/bin/env python3
"""A file stays below 600 lines and a function of C below 60, also in tests/.

Those in LEFT and LONG are longer, and have no more lines than they say.  The aim is that both are empty."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_MOST, FUNCTION_MOST = 600, 60

LEFT = {
}

LONG = {
    "engine/volume/ops/copy.c": {"copy_end": 80, "on_read": 80},
}

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
        most = LEFT.get(name, FILE_MOST)
        if len(lines) > most:
            wrong.append(f"{name}: {len(lines)} lines, {most} at most")
        if name in LEFT and len(lines) <= FILE_MOST:
            wrong.append(f"{name}: short enough, and still in LEFT")
        if path.suffix == ".c" and not name.startswith("tests/"):
            long = LONG.get(name, {})
            wrong += [f"{name}: {function} has {length} lines, {long.get(function, FUNCTION_MOST)} at most"
                      for function, length in functions(lines) if length > long.get(function, FUNCTION_MOST)]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
