#!/usr/bin/env python3
"""Every symbol that other files see has the prefix of its part, so that it can neither meet a library's nor be taken for
one: sf_ for the libraries and the plugin, sfd_ for surefootd, ctl_ for surefootctl."""

import argparse
import re
import sys
from pathlib import Path

from circles import read_build

PREFIXES = (
    ("engine/", r"sf_"),
    ("plugin/", r"sf_|plugin_init$|surefoot_debug_"),  # nbdkit looks for these names
    ("daemon/surefootd/", r"sfd_|main$"),
    ("daemon/surefootctl/", r"ctl_|main$"),
)


OF_SANITIZERS = "__odr_asan."  # beside each variable of ours


def without_prefix(files):
    for name, (defined, _) in sorted(files.items()):
        wanted = next(re.compile(prefix) for part, prefix in PREFIXES if name.startswith(part))
        yield from (f"{name}: {symbol}" for symbol in sorted(defined)
                    if not wanted.match(symbol) and not symbol.startswith(OF_SANITIZERS))


def check_itself():
    """The check sees what it is made for."""
    files = {"engine/a.c": ({"sf_a", "a"}, set()), "daemon/surefootd/b.c": ({"main", "sf_b"}, set())}
    found = list(without_prefix(files))
    assert found == ["daemon/surefootd/b.c: sf_b", "engine/a.c: a"], found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    arguments = parser.parse_args()
    check_itself()
    files = read_build(arguments.build)
    assert files, f"no objects in {arguments.build}"
    found = list(without_prefix(files))
    for line in found:
        print(f"no prefix: {line}")
    print(f"{sum(len(defined) for defined, _ in files.values())} symbols, {len(found)} without their prefix")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
