#!/usr/bin/env python3
"""chart-readme.py [--check]: writes the values of the chart into its README.md, from the comments of values.yaml.

A comment that begins with "# --" is about the key below it, and the key's children, if it has any, are its default. Another comment
above a key of the first level is about that section. A value without a comment is an error: nobody would know what it is for.
--check changes nothing and fails when the README is not current.
"""

import pathlib
import re
import sys
import textwrap

CHART = pathlib.Path(__file__).resolve().parent.parent / "charts" / "error-tracking-operator"
BEGIN = "<!-- From values.yaml by hack/chart-readme.py. -->"
END = "<!-- End of the values. -->"
KEY = re.compile(r"^( *)([A-Za-z]\w*):(?: (.*))?$")


class Entry:
    """A key with its comment; `about` is whether the comment is about this key alone."""

    def __init__(self, path, comment, about, default):
        self.path, self.comment, self.about, self.default = path, comment, about, default
        self.children = []


def read(lines):
    """The entries of the first level."""
    top, stack, comment, about = [], [], [], False
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            comment, about = [], False
        elif text.startswith("#"):
            about = about or text.startswith("# --")
            comment.append(re.sub(r"^#( --)? ?", "", text))
        elif key := KEY.match(line):
            depth = len(key[1]) // 2
            del stack[depth:]
            path = ".".join([entry.path.rsplit(".", 1)[-1] for entry in stack] + [key[2]])
            entry = Entry(path, " ".join(comment), about, key[3] or "")
            (stack[-1].children if stack else top).append(entry)
            stack.append(entry)
            comment, about = [], False
        elif text.startswith("- ") and stack:
            stack[-1].default = f"{stack[-1].default} [{text[2:]}]".strip()
        else:
            sys.exit(f"values.yaml:{number}: neither a key nor an item of a list: {text}")
    return top


def default(entry):
    if not entry.children:
        return entry.default
    name = lambda child: child.path.rsplit(".", 1)[-1]
    return "{" + ", ".join(f"{name(child)}: {default(child)}" for child in entry.children) + "}"


def rows(entry):
    if entry.children and not entry.about:
        return [row for child in entry.children for row in rows(child)]
    if not entry.about:
        sys.exit(f"values.yaml: {entry.path} has no comment that begins with # --")
    cells = (f"`{entry.path}`", f"`{default(entry)}`", entry.comment)
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def table(entries):
    lines = ["| value | default | |", "|---|---|---|"]
    return lines + [row for entry in entries for row in rows(entry)]


def section(entry):
    return ["", f"### {entry.path}", ""] + (textwrap.wrap(entry.comment, 118) + [""] if entry.comment else []) + table([entry])


def main():
    entries = read((CHART / "values.yaml").read_text().splitlines())
    alone = [entry for entry in entries if entry.about]
    written = table(alone) + [line for entry in entries if not entry.about for line in section(entry)]
    readme = CHART / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    current = before + BEGIN + "\n\n" + "\n".join(written) + "\n\n" + END + rest.split(END)[1]
    if sys.argv[1:] == ["--check"]:
        if text != current:
            sys.exit("charts/error-tracking-operator/README.md is not current: hack/chart-readme.py")
    else:
        readme.write_text(current)
        print(f"chart-readme: wrote {sum(line.startswith('| `') for line in written)} values into {readme.name}")


main()
