"""Watching: metrics, the status page, health, against the real daemon and the real server."""
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.stores("file")


def parse(text):
    """{name: {labels as text: value}} of the text format."""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found.setdefault(name, {})[labels or ""] = float(value)
    return found


def promtool(*arguments, text=None, cwd=None):
    if not shutil.which("promtool"):
        pytest.skip("promtool (Debian's prometheus) is not installed")
    done = subprocess.run(["promtool", *arguments], input=text, cwd=cwd, check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def small(workspace, database, **jobs):
    database("small", "create table t as select generate_series(1, 1000) as v")
    return workspace(["small"], jobs={"nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"last": 5}}, **jobs})


@pytest.mark.stores("file", "s3")
def test_metrics_of_a_cluster(workspace, database):
    ws = small(workspace, database)
    ws.run("run", "demo/nightly")
    ws.run("verify", "demo")
    run = ws.run("metrics", "--audit", expect=0)
    print(run.out)
    seen = parse(run.out)
    job = 'cluster="demo",job="nightly"'
    assert seen["pgcairn_job_last_ok"] == {job: 1}
