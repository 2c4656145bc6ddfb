"""The documentation is true: what is printed from tables is up to date, links lead somewhere, and the
commands of the operations guide run, in their order, on a real server."""
import re

import pytest
from cairn import TOP, run_pgcairn

DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md")), *sorted(TOP.glob("policies/*.md")),
             *sorted(TOP.glob("contrib/**/README.md"))]


@pytest.mark.parametrize("topic", ["policy", "commands"])
def test_reference_is_up_to_date(topic):
    printed = run_pgcairn("reference", topic).out
    assert (TOP / f"docs/{topic}.md").read_text() == printed, \
        f"docs/{topic}.md is stale: build/dev/src/pgcairn reference {topic} > docs/{topic}.md"


def test_reference_as_json():
    sections = {s["name"]: s for s in run_pgcairn("--json", "reference", "policy").json["sections"]}
    assert {"", "jobs", "keep", "repository.s3"} <= set(sections)
    timeout = next(k for k in sections["defaults"]["keys"] if k["name"] == "timeout")
    assert (timeout["takes"], timeout["fallback"]) == ("1s to 30d", "6h")
    commands = {c["name"]: c for c in run_pgcairn("--json", "reference", "commands").json["commands"]}
    assert "dry-run" in [o["name"] for o in commands["restore dump"]["options"]]
    assert run_pgcairn("reference", "nothing", expect=2).out == ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(TOP)))
def test_links(document):
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", document.read_text()):
        if target and not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document}: nothing is at {target}"
