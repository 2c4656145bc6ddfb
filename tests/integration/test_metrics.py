"""The table of metrics against who uses it: alert rules, dashboard, promtool's own checks."""
import json
import re
import shutil
import subprocess

import pytest
from cairn import TOP, run_pgcairn

PROMETHEUS = TOP / "contrib/prometheus"
DASHBOARD = TOP / "contrib/grafana/pgcairn.json"
NAME = re.compile(r"\bpgcairn_[a-z_]+")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian's prometheus) is not installed")


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, check=False, text=True, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def table():
    return {row["name"]: row for row in run_pgcairn("--json", "metrics", "--list").json["metrics"]}


def test_table(table):
    for name, row in table.items():
        assert NAME.fullmatch(name) and row["type"] in ("gauge", "counter") and row["help"].endswith("."), row
        assert name.endswith("_total") == (row["type"] == "counter"), f"{name} is a {row['type']}"
        # Prometheus sets these itself, for the target.
        assert not {"job", "instance"} & set(row["labels"]), row
    listed = run_pgcairn("metrics", "--list").out
    assert all(name in listed for name in table)


def expressions():
    """(where, expression) of the rules and of the dashboard."""
    text = (PROMETHEUS / "alerts.yaml").read_text()
    for name, expr in re.findall(r"alert: (\w+)\n\s+expr: (?:>\n)?((?:.|\n)*?)\n\s+(?:for|labels):", text):
        yield name, expr
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def test_rules_and_dashboard_know_their_metrics(table):
    seen = set()
    for where, expr in expressions():
        names = NAME.findall(expr)
        assert names, f"{where}: no metric in {expr!r}"
        assert not set(names) - set(table), f"{where}: {set(names) - set(table)} are no metrics"
        for name, labels in re.findall(r"(pgcairn_[a-z_]+)\{([^}]*)\}", expr):
            wanted = set(re.findall(r"(\w+)\s*(?:=|!)", labels))
            assert wanted <= set(table[name]["labels"]), f"{where}: {name} has no label {wanted}"
        seen |= set(names)
    assert len(seen) > 30, seen


def test_dashboard_labels(table):
    """A legend names labels that the metric has; panels do not lie over each other."""
    dashboard = json.loads(DASHBOARD.read_text())
    places = set()
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & places and grid["x"] + grid["w"] <= 24, panel["title"]
        places |= cells
        for target in panel.get("targets", []):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert any(label in table[name]["labels"] for name in NAME.findall(target["expr"])), (panel["title"], label)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_rule_has_a_test():
    rules = set(re.findall(r"alert: (\w+)", (PROMETHEUS / "alerts.yaml").read_text()))
    tests = "".join(path.read_text() for path in PROMETHEUS.glob("*.test.yaml"))
    fired = set(re.findall(r"labels: 'ALERTS\{alertname=\"(\w+)\"", tests))
    assert rules == fired and len(rules) > 20, rules ^ fired


@needs_promtool
def test_rules_by_promtool():
    assert "SUCCESS" in promtool("check", "rules", "alerts.yaml")


@needs_promtool
def test_tests_of_the_rules_by_promtool():
    promtool("test", "rules", *sorted(path.name for path in PROMETHEUS.glob("*.test.yaml")))
