"""An S3 service that takes connections and never answers, or shows a certificate of another name: whole
programs against it. What single operations do then is in test_s3.py."""
import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest
from cairn import assert_error
from compare import assert_equal_databases
from pg import wait_until
from s3 import Service
from slow_dump import copying, mid_dump, slow_workspace

pytestmark = pytest.mark.stores("s3")

SECONDS_TO_END = 20  # on a busy machine; one second when it is idle


@contextmanager
def stalled(service):
    """The gateway stands still: its connections stay open, and nothing comes."""
    if not service.is_ours:
        pytest.skip("the other service is not ours to stop")
    pids = [line.split()[1] for line in (service.folder / "pids").read_text().splitlines() if line.startswith("gateway ")]
    os.kill(int(pids[-1]), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(int(pids[-1]), signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_dump_ends_when_told_though_the_service_stalls(workspace, database, server, restored, number):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as run:
        with stalled(ws.repository.service):
            time.sleep(1)
            begun = time.monotonic()
            run.signal(number)
            ended = run.wait(5, 120)
            assert time.monotonic() - begun < SECONDS_TO_END, str(ended)
    wait_until(lambda: not copying(server), 10, "no session left behind")
    assert ws.good_backups() == []
    ws.policy["repository"].pop("rate_limit")
    ws.policy["defaults"]["lock_wait"] = "60s"
    ws.write()
    # What could not be taken away then, its lock above all, is no obstacle to the next run.
    ws.run("run", "demo/nightly")
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)


def test_a_pause_of_the_service_is_sat_out(workspace, database, server, restored):
    ws = slow_workspace(workspace, database, rate="4MB")
    with mid_dump(ws) as run:
        with stalled(ws.repository.service):
            time.sleep(4)
            assert run.running(), run.err
        run.wait(0, 120)
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, "slow", restored)
    assert ws.repository.uploads() == []


def test_list_ends_when_told_though_the_service_stalls(workspace, database):
    database("small", "create table t as select 1 as v")
    ws = workspace(["small"])
    ws.dump()
    with stalled(ws.repository.service), ws.start("list") as run:
        time.sleep(1)
        assert run.running()
        begun = time.monotonic()
        run.signal(signal.SIGTERM)
        run.process.wait(120)
        assert time.monotonic() - begun < SECONDS_TO_END


@pytest.fixture(scope="module")
def misnamed(tmp_path_factory):
    """A service whose certificate, of an authority that is trusted, is another host's."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=elsewhere.example",
                    "-addext", "subjectAltName=DNS:elsewhere.example", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    service = Service.start(tls=(folder / "cert.pem", folder / "key.pem"))
    yield service
    service.stop()


def test_a_certificate_of_another_host(workspace, database, misnamed):
    database("small", "create table t as select 1 as v")
    ws = workspace(["small"], repository={"url": "s3://pgcairn-tests/prod", "s3": misnamed.policy(retry_for="2s")},
                   defaults={"retries": 0})
    for command in (["run", "demo/nightly"], ["list"]):
        assert_error(ws.run(*command, expect=3), "localhost", "certificate")
    checks = ws.run("check", "demo", json=True, expect=(1, 3)).json["checks"]
    about = [c for c in checks if c["id"].startswith("repository")]
    assert about and all(c["status"] != "pass" for c in about), checks
    assert "certificate" in about[0]["observed"] + about[0]["cure"]
