#!/usr/bin/env python3
"""scrub-relay.py CASES TABLE: compares our scrubbing with that of Relay's published library, by its default rules.

CASES is what the corpus test writes: events as sent and as we store them. Differences of the same kind are one line of TABLE,
each with a verdict; a kind without one fails.
"""
import collections
import json
import sys

from sentry_relay.processing import convert_datascrubbing_config, pii_strip_event

CONFIG = convert_datascrubbing_config(
    {"scrubData": True, "scrubDefaults": True, "scrubIpAddresses": False, "sensitiveFields": [], "excludeFields": []}
)

# (who takes it, Relay's rule or ours, planted or not): what we think of it.
VERDICTS = {
    ("Relay", "@password:filter", "harmless"): "ours is right: the value only speaks of a secret, or its name only looks like one",
    ("Relay", "@password:filter", "sample"): "ours is right: a name or text that only looks like a secret's",
    ("Relay", "@creditcard:filter", "harmless"): "ours is right: no issuer or no check digit, or a piece of a longer number",
    ("Relay", "@creditcard:replace", "harmless"): "ours is right: no issuer or no check digit, or a piece of a longer number",
    ("Relay", "@iban:filter", "harmless"): "ours is right: no check digits",
    ("Relay", "@iban:replace", "harmless"): "ours is right: no check digits",
    ("we", "name", "secret"): "ours is right: a secret that Relay stores",
    ("we", "text", "secret"): "ours is right: a secret that Relay stores",
}


def leaves(value, path=()):
    if isinstance(value, dict):
        for name, member in value.items():
            if name != "_meta":
                yield from leaves(member, path + (name,))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from leaves(element, path + (index,))
    else:
        yield path, value


def rule_of(meta, path):
    for step in path:
        if not isinstance(meta, dict) or str(step) not in meta:
            break
        meta = meta[str(step)]
        for removal in meta.get("", {}).get("rem", []):
            return removal[0]
    return "shape"


def shortened(value):
    text = " ".join(str(value).split()).replace("|", "\\|").replace("`", "'")
    return text if len(text) <= 60 else text[:57] + "..."


def kind(path):
    names = [str(step) for step in path if not isinstance(step, int) and step != "values"]
    return ".".join(names[:2])


def main(cases_path, table_path):
    with open(cases_path, encoding="utf-8") as file:
        cases = json.load(file)
    lines = collections.OrderedDict()
    for case in cases:
        plain = dict(leaves(pii_strip_event({}, case["sent"])))
        stripped = pii_strip_event(CONFIG, case["sent"])
        theirs, meta = dict(leaves(stripped)), stripped.get("_meta", {})
        ours = dict(leaves(pii_strip_event({}, case["cleaned"])))
        sort = "sample" if case["name"] == "sample event" else "secret" if case["planted"] else "harmless"
        for path, value in plain.items():
            we_keep, they_keep = ours.get(path) == value, theirs.get(path) == value
            if we_keep == they_keep:
                # A secret that both take: whole there, a piece here.
                continue
            if we_keep:
                key = ("Relay", rule_of(meta, path), sort)
            else:
                key = ("we", "name" if ours.get(path) in ("[Filtered]", None) else "text", sort)
            line = lines.setdefault(key, {"count": 0, "places": collections.Counter(), "example": None})
            line["count"] += 1
            line["places"][kind(path)] += 1
            if line["example"] is None:
                line["example"] = (shortened(value), shortened(theirs.get(path)), shortened(ours.get(path)))
    unjudged = 0
    rows = []
    for (who, rule, sort), line in sorted(lines.items()):
        verdict = VERDICTS.get((who, rule, sort))
        if verdict is None:
            unjudged += 1
            verdict = "not judged yet"
        places = ", ".join(f"`{place}`" for place, _ in line["places"].most_common(3))
        value, their, our = line["example"]
        rows.append(f"| {who} | {rule} | {sort} | {line['count']} | {places} | `{value}` | `{their}` | `{our}` | {verdict} |")
    with open(table_path, "w", encoding="utf-8") as file:
        file.write(
            "# Scrubbing beside Relay\n\n"
            "Made by `make test-scrub`: what Relay's published library (Python package `sentry-relay`, its default rules) "
            "takes\nand we do not, and what we take and it does not, on the sample events and on a corpus with planted "
            "secrets. Values that\nboth take are left out. A line is a kind of difference, with its first example.\n\n"
            "| who takes it | by which rule | of what | values | where | sent | Relay stores | we store | verdict |\n"
            "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    print(f"scrub: {len(rows)} kinds of difference to Relay, {unjudged} without a verdict: {table_path}")
    return 1 if unjudged else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
