#!/usr/bin/env python3
"""prose.py FILE…: names the lines of prose in Markdown that have more than 120 characters.

Tables, code and the addresses of links do not count: they cannot be broken.
"""

import re
import sys
from pathlib import Path

LONGEST = 120
FENCE = re.compile(r"\s*(?:```|~~~)")
TABLE = re.compile(r"\s*\|")
ADDRESS = re.compile(r"\]\([^)]*\)|<https?://[^>]*>|https?://\S+")


def long_lines(text: str) -> list[tuple[int, int]]:
    """Number and length of each line of prose that is too long."""
    found = []
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            in_code = not in_code
        elif not in_code and not TABLE.match(line) and len(ADDRESS.sub("]", line)) > LONGEST:
            found.append((number, len(line)))
    return found


def main() -> int:
    failed = False
    for name in sys.argv[1:]:
        for number, length in long_lines(Path(name).read_text(encoding="utf-8")):
            failed = True
            print(f"{name}:{number}: a line of prose with {length} characters, more than {LONGEST}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
