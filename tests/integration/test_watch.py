"""Watching: metrics, the status page, health, against the real daemon and the real server."""
import base64
import http.client
import re
import shutil
import signal
import subprocess

import pytest
from pg import wait_until

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


# -- the daemon ---------------------------------------------------------------------------------


def address(daemon):
    """Where the daemon listens, as host and port."""
    wait_until(lambda: "http://" in daemon.err or not daemon.running(), 20, "the daemon's address")
    found = re.search(r"http://(\S+):(\d+)/", daemon.err)
    assert found and daemon.running(), daemon.err
    return found.group(1), int(found.group(2))


def get(where, path, token=None, method="GET", basic=None):
    """(status, headers, body)."""
    connection = http.client.HTTPConnection(*where, timeout=20)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if basic:
        headers = {"Authorization": "Basic " + base64.b64encode(f"any:{basic}".encode()).decode()}
    connection.request(method, path, headers=headers)
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, body


def scrape(where, **more):
    status, headers, body = get(where, "/metrics", **more)
    assert status == 200, body
    return parse(body)


def test_scrape(workspace, database):
    ws = small(workspace, database)
    with ws.start("daemon", "--listen", "127.0.0.1:0") as daemon:
        where = address(daemon)
        wait_until(lambda: "pgcairn_audit_ok" in scrape(where), 30, "the first gathering")
        print(get(where, "/metrics")[2][:3000])
        print(get(where, "/")[2])
        print(get(where, "/healthz"), get(where, "/readyz"))
        daemon.signal(signal.SIGTERM)
        daemon.wait(0, 30)
