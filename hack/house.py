#!/usr/bin/env python3
"""house.py [FOLDER]: the walls of the house, held for the crate in FOLDER (here by default).

Reads every .rs file of src/ without comments, texts and tests, and says

- which room names a room that it may not name: `crate::`, groups of `use`, `super::` that climbs out, `pub(in …)` aside;
- which room names a crate or a clock that it may not know;
- which file has more than 500 lines without its tests.

The last line is "house: F files, median M lines, longest L, arrows ok". house.py --self-test tries each of these.
docs/architecture.md has the picture.
"""

import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

LONGEST = 500

# Who may name whom: a room may name every room of the lines below its own.
FLOORS = [
    ["main", "bin"],
    ["commands"],
    ["operator", "ingest", "console", "plugin"],
    ["server", "kubernetes", "backend"],
    ["store"],
    ["grouping", "scrub", "filters"],
    ["protocol", "rotation", "runner"],
    ["crd"],
    ["settings", "console_api"],
    ["dsn", "text"],
    ["telemetry"],
]

# The same inside operator/. What lies in the folder itself, as its mod.rs, is the top.
OPERATOR_FLOORS = [
    ["operator"],
    ["operator/jobs"],
    ["operator/kinds"],
    ["operator/databases"],
    ["operator/objects"],
    ["operator/cluster"],
    ["operator/engine"],
]

# Beside its own floor, where the floors are wider than what design needs.
ALSO = {
    # A backend talks to the API server.
    ("backend", "kubernetes"),
}

PURE = {
    "protocol",
    "grouping",
    "scrub",
    "filters",
    "rotation",
    "runner",
    "settings",
    "console_api",
    "dsn",
    "text",
}

# What a room may not know: a pattern over its code, and the word for it.
SPAWN = (r"\b(?:tokio(?:::task)?|task)::spawn\b", "a task without an owner: use a JoinSet")
OUTSIDE = [
    (r"\b(?:kube|k8s_openapi)\b(?=::)", "Kubernetes"),
    (r"\bsqlx\b(?=::)", "SQL"),
    (r"\b(?:hyper|hyper_util|warp|http_body_util)\b(?=::)", "HTTP"),
    (r"\btokio\b(?=::)", "the runtime"),
    (r"\bstd::env\b|\benv::vars?(?:_os)?\b", "the environment"),
    (r"\b(?:SystemTime|Instant|Timestamp|Zoned)::now\b", "a clock"),
    (r"\brand\b(?=::)", "randomness"),
]


class Reference(NamedTuple):
    """A path in a file, from the root of the crate."""

    line: int
    path: tuple[str, ...]


def without_comments(text: str) -> str:
    """The code with blanks for comments, texts and characters; lines stay where they are."""
    kept: list[str] = []
    at = 0
    token = re.compile(
        r"""(?P<line>//[^\n]*)
          | (?P<block>/\*)
          | (?P<raw>\b(?:br|cr|r)(?P<hashes>\#*)")
          | (?P<text>\b[bc]?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")
          | (?P<letter>b?'(?:\\(?:u\{[0-9a-fA-F_]+\}|x[0-9a-fA-F]{2}|.)|[^'\\\n])')
        """,
        re.VERBOSE | re.DOTALL,
    )
    while found := token.search(text, at):
        kept.append(text[at : found.start()])
        end = found.end()
        if found["block"]:
            depth = 1
            while depth and (mark := re.compile(r"/\*|\*/").search(text, end)):
                depth += 1 if mark[0] == "/*" else -1
                end = mark.end()
            if depth:
                end = len(text)
        elif found["raw"]:
            closed = text.find('"' + found["hashes"], end)
            end = len(text) if closed < 0 else closed + 1 + len(found["hashes"])
        kept.append(re.sub(r"[^\n]", " ", text[found.start() : end]))
        at = end
    kept.append(text[at:])
    return "".join(kept)


def closing(code: str, opened: int) -> int:
    """Where the brace that opens at `opened` is closed."""
    depth = 0
    for at in range(opened, len(code)):
        depth += {"{": 1, "}": -1}.get(code[at], 0)
        if depth == 0:
            return at
    return len(code) - 1


TEST_ATTRIBUTE = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*")


def without_tests(code: str) -> tuple[str, int]:
    """The code with blanks for what is compiled in tests only, and how many lines that is."""
    lines = 0
    at = 0
    while found := TEST_ATTRIBUTE.search(code, at):
        item = re.compile(r"[;{]").search(code, found.end())
        end = len(code) - 1 if item is None else item.start()
        if code[end] == "{":
            end = closing(code, end)
            # `use a::{b};` ends behind its group.
            if code[found.end() :].lstrip().startswith(("use ", "pub use ", "pub(crate) use ", "pub(super) use ")):
                end = code.find(";", end) if ";" in code[end:] else end
        part = code[found.start() : end + 1]
        lines += part.count("\n") + 1
        code = code[: found.start()] + re.sub(r"[^\n]", " ", part) + code[end + 1 :]
        at = end + 1
    return code, lines


def is_test(path: Path) -> bool:
    return path.name in ("tests.rs", "health_states.rs") or path.name.endswith("_tests.rs")


def module_of(path: Path) -> tuple[str, ...]:
    """("operator", "kinds", "project") for operator/kinds/project/mod.rs; ("main",) for main.rs."""
    parts = path.with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


NAME = r"(?:r#)?[A-Za-z_][A-Za-z0-9_]*"
INLINE_MODULE = re.compile(rf"\bmod\s+({NAME})\s*\{{")
PATH_START = re.compile(r"(?<![\w$:])(?:\$?crate|super|self|error_tracking_operator)\s*::|(?<![\w:])\$crate\s*::")
PIECE = re.compile(rf"\s*({NAME}|\*|\{{)")


def modules_at(code: str, module: tuple[str, ...]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Spans of modules that are written out within the file."""
    spans = []
    for found in INLINE_MODULE.finditer(code):
        end = closing(code, found.end() - 1)
        around = [path for start, stop, path in spans if start < found.start() < stop]
        spans.append((found.start(), end, (around[-1] if around else module) + (found[1],)))
    return spans


def leaves(code: str, at: int) -> tuple[list[list[str]], int]:
    """The paths that a path or a group spells from `at` on, and where it ends."""
    found = PIECE.match(code, at)
    if not found:
        return [[]], at
    if found[1] == "{":
        paths: list[list[str]] = []
        at = found.end()
        while True:
            blank = re.compile(r"[\s,]*").match(code, at)
            at = blank.end() if blank else at
            if at >= len(code) or code[at] == "}":
                return paths, at + 1
            below, end = leaves(code, at)
            alias = re.compile(rf"\s+as\s+{NAME}").match(code, end)
            paths += below
            at = max(alias.end() if alias else end, at + 1)
    at = found.end()
    more = re.compile(r"\s*::(?!\s*<)").match(code, at)
    if more is None:
        return [[found[1]]], at
    below, at = leaves(code, more.end())
    return [[found[1], *path] for path in below], at


def references(code: str, module: tuple[str, ...]) -> list[Reference]:
    """Every path that begins with crate, super, self or the crate's name, from the root of the crate."""
    inline = modules_at(code, module)
    found = []
    # A group can hold paths with super:: of their own; they belong to what stands before the group.
    covered = 0
    for start in PATH_START.finditer(code):
        if start.start() < covered:
            continue
        if re.search(r"pub\s*\(\s*in\s*$", code[max(0, start.start() - 40) : start.start()]):
            continue
        inside = [path for opened, closed, path in inline if opened < start.start() < closed]
        own = inside[-1] if inside else module
        paths, covered = leaves(code, start.start() + (1 if code[start.start()] == "$" else 0))
        line = code.count("\n", 0, start.start()) + 1
        for path in paths:
            found.append(Reference(line, resolved(path, own)))
    # `use {crate::a, super::b}` has no path in front: its members are found one by one above.
    return found


def resolved(path: list[str], own: tuple[str, ...]) -> tuple[str, ...]:
    place = list(own)
    for number, piece in enumerate(path):
        if piece in ("crate", "error_tracking_operator") and number == 0:
            place = []
        elif piece == "self":
            continue
        elif piece == "super":
            place = place[:-1]
        else:
            place.append(piece)
    return tuple(place)


def room_of(path: tuple[str, ...], rooms: set[str]) -> str:
    """The room that a path is in: the first folder, or the first two where a folder has rooms within."""
    if len(path) > 1 and "/".join(path[:2]) in rooms:
        return "/".join(path[:2])
    return path[0] if path and path[0] in rooms else ""


def may_name(room: str, other: str) -> bool:
    if (room, other) in ALSO:
        return True
    if room.startswith("operator") and other.startswith("operator"):
        floors, below = OPERATOR_FLOORS, (room, other)
    else:
        floors, below = FLOORS, (room.split("/")[0], other.split("/")[0])
    floor = {name: number for number, names in enumerate(floors) for name in names}
    return room == other or below[0] == below[1] != "operator" or floor[below[0]] < floor[below[1]]


class House:
    """What is found in the sources below `root`/src."""

    def __init__(self, root: Path) -> None:
        self.faults: list[str] = []
        self.lengths: dict[Path, int] = {}
        sources = root / "src"
        files = sorted(path for path in sources.rglob("*.rs") if not is_test(path))
        self.known = {name for floor in FLOORS + OPERATOR_FLOORS for name in floor}
        for path in files:
            self.read(path.relative_to(sources), path.read_text(encoding="utf-8"))

    def read(self, path: Path, text: str) -> None:
        module = module_of(path)
        code, tests = without_tests(without_comments(text))
        self.lengths[path] = len(text.splitlines()) - tests
        if self.lengths[path] > LONGEST:
            self.faults.append(f"src/{path}: {self.lengths[path]} lines without tests, more than {LONGEST}")
        if not module:
            return
        room = room_of(module, self.known)
        if not room:
            self.faults.append(f"src/{path}: no room of this name: give it a floor in hack/house.py")
            return
        for line, named in references(code, module):
            self.judge(f"src/{path}:{line}", room, named)
        outside = OUTSIDE if room in PURE else []
        if room not in ("main", "bin"):
            outside = [*outside, SPAWN]
        for pattern, what in outside:
            for found in re.finditer(pattern, code):
                line = code.count("\n", 0, found.start()) + 1
                known = f"{room} names {found[0]}: {what}"
                self.faults.append(f"src/{path}:{line}: {known}")

    def judge(self, place: str, room: str, named: tuple[str, ...]) -> None:
        if not named or named[0] == "*":
            # The root has nothing but rooms.
            self.faults.append(f"{place}: {room} names the root of the crate: name the room")
            return
        other = room_of(named, self.known)
        if other and not may_name(room, other):
            self.faults.append(f"{place}: {room} names {'::'.join(named)}: {room} is below {other}, or beside it")

    def summary(self) -> str:
        lengths = list(self.lengths.values())
        arrows = "arrows ok" if not self.faults else f"{len(self.faults)} faults"
        median = int(statistics.median(lengths)) if lengths else 0
        return f"house: {len(lengths)} files, median {median} lines, longest {max(lengths, default=0)}, {arrows}"


# What a scratch house is told, and a part of what is said of it; "" where nothing may be said.
CASES = [
    ("store/a.rs", "use crate::operator::X;", "store names operator::X"),
    ("store/a.rs", "fn a() { crate::ingest::run(); }", "store names ingest::run"),
    ("store/a.rs", "use crate::{dsn::{self, Key}, console::{pages::{Page, self}}};", "store names console::pages::Page"),
    ("store/a.rs", "use crate::{\n    dsn::Key,\n    ingest::Config as Other,\n};", "store names ingest::Config"),
    ("store/a.rs", "use super::super::operator::X;", "store names operator::X"),
    ("store/a/b.rs", "fn a() -> super::super::super::console::Page { }", "store names console::Page"),
    ("store/mod.rs", "use super::operator;", "store names operator"),
    ("store/a.rs", "mod inner { use super::super::super::operator::X; }", "store names operator::X"),
    ("store/a.rs", "pub use crate::operator as other;", "store names operator"),
    ("store/a.rs", "use {crate::operator::X, std::fmt};", "store names operator::X"),
    ("store/a.rs", "macro_rules! m { () => { $crate::operator::x() } }", "store names operator::x"),
    ("store/a.rs", "use error_tracking_operator::operator::X;", "store names operator::X"),
    ("store/a.rs", "use crate::*;", "names the root"),
    ("store/a.rs", "use crate::{self as all};", "names the root"),
    ("store/a.rs", "use super::super as all;", "names the root"),
    ("ingest/a.rs", "use crate::console::X;", "ingest names console::X"),
    ("telemetry/a.rs", "use crate::dsn::X;", "telemetry names dsn::X"),
    ("operator/engine/a.rs", "use super::super::kinds::X;", "operator/engine names operator::kinds::X"),
    ("operator/cluster/a.rs", "use crate::operator::{engine::X, databases::Y};", "names operator::databases::Y"),
    ("operator/objects/a.rs", "use crate::operator::Config;", "operator/objects names operator::Config"),
    ("operator/objects/a.rs", "use super::super::Config;", "operator/objects names operator::Config"),
    ("protocol/a.rs", "use sqlx::PgPool;", "protocol names sqlx: SQL"),
    ("runner/a.rs", "use k8s_openapi::api::core::v1::Pod;", "runner names k8s_openapi: Kubernetes"),
    ("scrub/a.rs", "fn a() { jiff::Timestamp::now(); }", "scrub names Timestamp::now: a clock"),
    ("store/a.rs", "fn a() { tokio::spawn(async {}); }", "a task without an owner"),
    ("store/a.rs", "fn a() { task::spawn(async {}); }", "a task without an owner"),
    ("elsewhere/a.rs", "", "no room of this name"),
    ("store/a.rs", "\n" * 501, "501 lines without tests"),
    ("store/a.rs", "fn a() {}\n" + "#[cfg(test)]\nmod tests {\n" + "\n" * 600 + "}\n", ""),
    ("store/a_tests.rs", "use crate::operator::X;\n" * 600, ""),
    ("store/a.rs", "#[cfg(test)]\nmod tests { use crate::operator::X; }", ""),
    ("store/a.rs", "#[cfg(test)]\nuse crate::operator::{X};\nuse crate::ingest::Y;", "store names ingest::Y"),
    ("store/a.rs", "// use crate::operator::X;\n/* crate::ingest /* x */ */ fn a() { b(\"crate::operator::X\") }", ""),
    ("store/a.rs", "fn a() { b(r#\"crate::operator \" x\"#, '\"'); } use crate::ingest::X;", "store names ingest::X"),
    ("store/a.rs", "pub(in crate::store) fn a<'a>() {} use self::b::X; use super::c::Y; use crate::protocol::Z;", ""),
    ("operator/kinds/a/b.rs", "use super::super::c::X; use crate::operator::{engine::Y, objects::Z};", ""),
    ("operator/mod.rs", "use self::{kinds::X, engine::Y}; use crate::store::Z;", ""),
    ("main.rs", "use error_tracking_operator::{commands, operator}; fn a() { tokio::spawn(b()); }", ""),
    ("lib.rs", "pub mod operator;", ""),
]


def self_test() -> int:
    failed = 0
    for file, text, expected in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "src" / file
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
            faults = House(Path(folder)).faults
        wrong = bool(faults) if not expected else not any(expected in fault for fault in faults)
        if wrong:
            failed += 1
            print(f"house.py: {file} {text[:80]!r}: expected {expected!r}, found {faults}", file=sys.stderr)
    print(f"house: {len(CASES) - failed} of {len(CASES)} scratch houses are judged as expected")
    return 1 if failed else 0


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["--self-test"]:
        return self_test()
    house = House(Path(arguments[0] if arguments else "."))
    for fault in house.faults:
        print(fault, file=sys.stderr)
    print(house.summary())
    return 1 if house.faults else 0


if __name__ == "__main__":
    sys.exit(main())
