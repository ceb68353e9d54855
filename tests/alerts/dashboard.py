"""dashboard.py FILE…: the expressions of Grafana dashboards as recording rules, so that promtool can say whether they can be read."""

import json
import sys

rules = []
for file in sys.argv[1:]:
    with open(file, encoding="utf-8") as dashboard:
        panels = json.load(dashboard)["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m")
            rules.append({"record": f"panel:{panel['id']}:{target['refId']}", "expr": expression})
# JSON is YAML.
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout, indent=1)
