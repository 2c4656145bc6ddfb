"""The log: JSON lines, fields of systemd's journal, and what each run said, kept for later."""
import json
import os
import re
import signal
import socket
import subprocess

import pytest
from cairn import binary_command
from pg import clean_environment, wait_until

pytestmark = pytest.mark.stores("file")

RUN_ID = re.compile(r"\d{8}T\d{6}Z-\w+")
EVERY_2_S = {"type": "dump", "schedule": "* * * * * */2", "seconds": True, "keep": {"last": 5}}


@pytest.fixture
def ws(workspace, database):
    database("small", "create table t as select 1 as v")
    return workspace(["small"], jobs={"nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"last": 5}},
                                      "broken": {"type": "dump", "schedule": "0 3 * * *", "keep": {"last": 5}}})


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def break_job(ws):
    ws.policy["jobs"]["broken"]["connection"] = ws.server.url("nowhere")
    ws.write()


def test_json_lines_of_a_run(ws):
    break_job(ws)
    seen = events(ws.run("--log-format", "json", "run", "demo/nightly", "--due", "2026-11-21T02:00:00Z").err)
    end = seen[-1]
    assert (end["cluster"], end["job"], end["due"], end["attempt"]) == ("demo", "nightly", "2026-11-21T02:00:00Z", 1)
    assert end["outcome"] == "done" and end["level"] == "info" and end["bytes"] > 0 and end["duration_s"] > 0
    assert {e["run_id"] for e in seen if "run_id" in e} == {end["run_id"]}
    failed = events(ws.run("run", "demo/broken", env={"PGCAIRN_LOG_FORMAT": "json"}, expect=1).err)
    assert failed[-1]["level"] == "error" and "nowhere" in failed[-1]["message"] and failed[-1]["hint"]
    assert [e["outcome"] for e in failed if "outcome" in e] == ["failed"]
    wrong = ws.run("--log-format", "xml", "status", expect=2)
    assert "text, json, journal" in wrong.err
    ws.run("status", "--log-format", "json", expect=2)


def test_json_lines_of_the_daemon(ws):
    ws.policy["jobs"] = {"often": EVERY_2_S}
    ws.write()
    with ws.start("--log-format=json", "daemon") as daemon:
        wait_until(lambda: '"outcome":"done"' in daemon.err, 30, "a run")
        daemon.signal(signal.SIGTERM)
        seen = events(daemon.wait(0, 60).err)
    end = next(e for e in seen if e.get("outcome") == "done")
    assert end["job"] == "often" and end["bytes"] > 0 and end["attempt"] == 1 and end["due"].endswith("Z")
    of_run = [e for e in seen if e.get("run_id") == end["run_id"]]
    assert of_run[0]["message"].startswith("started for") and of_run[-1] == end
    assert not any(e["message"].startswith(("|", "{")) for e in seen), "lines of runs are not wrapped twice"


def with_a_journal(ws, folder, *arguments, env=None, stderr=subprocess.PIPE):
    """What a socket got that stands in the place of systemd's, in a mount namespace of its own; and stderr."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    path = folder / "socket"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taker:
        taker.bind(str(path))
        taker.setblocking(False)
        command = binary_command(ws.arguments(arguments))
        inside = f'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind "{folder}" /run/systemd/journal && exec "$@"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", inside, "sh", *command], check=False, stdout=subprocess.PIPE,
                              stderr=stderr, text=True, env=clean_environment(**ws.environment(env)))
        entries = []
        while True:
            try:
                entries.append(dict(f.split("=", 1) for f in taker.recv(65536).decode().splitlines()))
            except BlockingIOError:
                return entries, done.stderr


def test_fields_of_the_journal(ws, tmp_path):
    entries, err = with_a_journal(ws, tmp_path, "--log-format", "journal", "run", "demo/nightly")
    assert err == ""
    end = entries[-1]
    assert end["PRIORITY"] == "6" and end["SYSLOG_IDENTIFIER"] == "pgcairn" and end["PGCAIRN_OUTCOME"] == "done"
    assert (end["PGCAIRN_CLUSTER"], end["PGCAIRN_JOB"]) == ("demo", "nightly") and RUN_ID.fullmatch(end["PGCAIRN_RUN_ID"])
    # Nobody listens: the words go to stderr, and the run is none the worse for it.
    assert "pgcairn: " in ws.run("--log-format", "journal", "run", "demo/nightly").err


def test_journal_is_chosen_where_stderr_goes_there(ws, tmp_path):
    """$JOURNAL_STREAM names what stderr is when systemd has connected it."""
    with open(tmp_path / "stderr", "w+") as err:
        status = os.fstat(err.fileno())
        own = f"{status.st_dev}:{status.st_ino}"
        for env, sent in (({"JOURNAL_STREAM": own}, 1), ({"JOURNAL_STREAM": "1:2"}, 0),
                          ({"JOURNAL_STREAM": own, "PGCAIRN_LOG_FORMAT": "text"}, 0)):
            entries, _ = with_a_journal(ws, tmp_path, "run", "demo/nowhere", env=env, stderr=err)
            assert len(entries) == sent, (env, entries)
    assert (tmp_path / "stderr").read_text().count('has no job "nowhere"') == 2, "what the journal took is not said twice"


def test_log_of_a_run(ws):
    break_job(ws)
    first = ws.run("run", "demo/nightly", json=True).json["run_id"]
    ws.run("-q", "run", "demo/broken", expect=1)
    shown = ws.run("log", "demo/nightly")
    assert shown.out == (ws.state / "runs" / f"{first}.log").read_text() and "info" in shown.out
    assert ws.run("log", first).out == shown.out
    failed = ws.run("log", "demo/broken", json=True).json
    assert failed["run"]["outcome"] == "failed" and failed["run"]["job"] == "broken"
    assert [line["level"] for line in failed["lines"]][-1] == "error" and "nowhere" in failed["lines"][-1]["message"]
    second = ws.run("run", "demo/nightly", json=True).json["run_id"]
    listed = ws.run("log", "demo/nightly", "--list", json=True).json["runs"]
    assert [r["run_id"] for r in listed] == [first, second] and {r["outcome"] for r in listed} == {"done"}
    assert [r["run_id"] for r in ws.run("log", "demo/nightly", "--list", "-n", "1", json=True).json["runs"]] == [second]
    assert second in ws.run("log", "demo/nightly", "--list").out


@pytest.mark.parametrize("words, rc, told", [
    (["20991121T020000Z-aaaaaa"], 1, "there is no log of run"),
    (["../journal.db"], 1, "no run of ../journal.db"),
    (["demo/nowhere"], 1, "no run of demo/nowhere"),
    (["demo", "--list"], 2, "needs CLUSTER/JOB"),
    (["x y"], 2, "is no id of a run"),
    (["demo/nightly", "-n", "3"], 2, "-n goes with --list"),
    (["demo/nightly", "--list", "-n", "0"], 2, "-n"),
])
def test_what_has_no_log(ws, words, rc, told):
    ws.run("run", "demo/nightly")
    assert told in ws.run("log", *words, expect=rc).err


def test_log_of_a_run_of_the_daemon(ws):
    """The daemon's words about a run lie among the run's own, none twice."""
    ws.policy["jobs"] = {"often": EVERY_2_S}
    ws.write()
    with ws.start("daemon") as daemon:
        wait_until(lambda: "done in" in daemon.err, 30, "a run")
        daemon.signal(signal.SIGTERM)
        daemon.wait(0, 60)
    run = next(r for r in ws.run("log", "demo/often", "--list", json=True).json["runs"] if r["outcome"] == "done")
    lines = ws.run("log", run["run_id"], json=True).json["lines"]
    texts = [line["message"] for line in lines]
    assert texts[0].startswith("started for") and texts[1].startswith("demo/often (dump) for"), texts
    assert texts[-2].startswith("done, backup ") and texts[-1].startswith("done in"), texts
    assert len(texts) == len(set(texts)), texts


def test_a_log_that_cannot_be_written_fails_nothing(ws):
    (ws.state / "runs").write_text("not a folder")
    ws.run("run", "demo/nightly")
    assert len(ws.good_backups()) == 1
    ws.run("log", "demo/nightly", expect=1)
