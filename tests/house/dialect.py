#!/usr/bin/env python3
"""What is called by one name everywhere: a result is r, and a test of the C programs is what it shows, without test_ before it."""

import re
import sys

from sizes import ROOT, files

WORDS = ((re.compile(r"\brc\b"), "a result is called r"),
         (re.compile(r"^test_\w+\("), "a test is called what it shows"))


def main():
    wrong = []
    for path in files():
        if path.suffix == ".py":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            wrong += [f"{path.relative_to(ROOT)}:{number}: {why}" for word, why in WORDS if word.search(line)]
    print("\n".join(wrong))
    return 1 if wrong else 0


sys.exit(main())
