"""What the daemon tells people: of which runs, how often, and that neither a receiver nor its own death loses it."""
import json
import signal
import sqlite3

import pytest
from pg import wait_until
from test_daemon import EVERY_2_S, SECOND, begun, hourly, job, rows, stop
from told import HttpReceiver

pytestmark = pytest.mark.stores("file")

HOUR = 3600 * SECOND


@pytest.fixture
def http():
    with HttpReceiver() as receiver:
        yield receiver


def telling(workspace, database, notify, schedule=EVERY_2_S, **jobs):
    database("small", "create table t as select 1 as v")
    return workspace(["small"], jobs={"often": job(schedule), **jobs}, notify=notify)


def told(http, path="/hook"):
    return [json.loads(r.body) for r in http.requests if r.path == path]


def kinds(http, path="/hook"):
    return [e["event"] for e in told(http, path)]


def close_database(server, is_closed=True):
    server.psql("postgres", f"alter database small allow_connections {not is_closed}")


def age(ws, **columns):
    """Moves times of the journal an hour each into the past: table_column=hours."""
    with sqlite3.connect(ws.state / "journal.db") as db:
        for name, hours in columns.items():
            table, column = name.split("_", 1)
            db.execute(f"update {table} set {column} = {column} - ?", (hours * HOUR,))


def test_a_failure_is_told_once_and_so_is_its_end(workspace, database, server, http):
    ws = telling(workspace, database, [{"webhook": http.url("/hook")}, {"ping": http.url("/ping"), "job": "often"}])
    close_database(server)
    with ws.start("daemon") as daemon:
        wait_until(lambda: kinds(http), 30, "the failure to be told")
        wait_until(lambda: len(rows(ws, "outcome = 'failed'")) >= 3, 30, "it to fail again")
        close_database(server, False)
        wait_until(lambda: len(rows(ws, "outcome = 'done'")) >= 2 and len(kinds(http)) > 1, 30, "two dumps, and recovery to be told")
        stop(daemon)
    failure, recovery = told(http)
    first, done = rows(ws, "outcome = 'failed'")[0], rows(ws, "outcome = 'done'")[0]
    assert (failure["event"], failure["cluster"], failure["job"], failure["type"]) == ("failure", "demo", "often", "dump")
    assert (failure["run_id"], failure["attempt"], failure["outcome"]) == (first["run_id"], 1, "failed")
    assert '"small" is not currently accepting' in failure["cause"] and failure["cure"] and failure["code"] == first["error_code"]
    assert failure["next_try"] > failure["at"] >= failure["started_at"] >= failure["due"] and failure["host"]
    assert (recovery["event"], recovery["run_id"], recovery["backup_id"]) == ("recovery", done["run_id"], done["backup_id"])
    # A watchdog counts each run: its begin and its end have one rid, of its due instant.
    pings = [r.path.removeprefix("/ping").split("?rid=") for r in http.requests if r.path.startswith("/ping")]
    begins, ends = pings[0::2], pings[1::2]
    assert {b[0] for b in begins} == {"/start"} and [b[1] for b in begins[:len(ends)]] == [e[1] for e in ends]
    assert ends[0][0] not in ("", "/start", "/log") and ends[-1][0] == "" and len({e[1] for e in ends}) == len(ends)


def test_a_receiver_that_hangs_and_a_daemon_that_is_killed(workspace, database, http):
    """Jobs go on and others are told; what waited is told after the next start, in its order."""
    with HttpReceiver() as hung:
        hung.answers = ["hang"]
        ws = telling(workspace, database, [{"webhook": hung.url("/hook"), "on": ["success"]}, {"webhook": http.url("/hook"), "on": ["success"]}])
        with ws.start("daemon") as daemon:
            wait_until(lambda: told(hung) and told(http), 10, "both to be told")
            wait_until(lambda: len(rows(ws, "outcome = 'done'")) >= 3, 20, "dumps while one receiver hangs")
            daemon.signal(signal.SIGKILL)
            daemon.process.wait()
        done = [r["run_id"] for r in rows(ws, "outcome = 'done'")]
        assert len(told(hung)) == 1 and ws.run("notify", "demo", json=True).json["pending"] >= 3
        hung.requests.clear()
        hung.answers = [200]
        ws.policy["jobs"]["often"] = job(hourly())
        ws.write()
        with ws.start("daemon") as daemon:
            wait_until(lambda: ws.run("notify", "demo", json=True).json["pending"] == 0, 20, "what waited to be told")
            stop(daemon)
        runs = [e["run_id"] for e in told(hung)]
        assert runs[:3] == done[:3] and len(runs) == len(set(runs)) and set(runs) <= {r["run_id"] for r in rows(ws, "outcome = 'done'")}
        assert set(runs) == {e["run_id"] for e in told(http)}


def test_a_damaged_repository_is_told(workspace, database, http):
    ws = telling(workspace, database, [{"webhook": http.url("/hook")}], hourly(), check={"type": "verify", "schedule": EVERY_2_S, "seconds": True})
    backup = ws.dump("often")
    key = ws.volumes(backup)[0]
    good = ws.repository.read(key)
    middle = len(good) // 2
    ws.repository.write(key, good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:])
    with ws.start("daemon") as daemon:
        wait_until(lambda: told(http), 30, "the damage to be told")
        ws.repository.write(key, good)
        wait_until(lambda: len(told(http)) > 1, 30, "its mending to be told")
        stop(daemon)
    failure, recovery = told(http)
    assert (failure["event"], failure["job"], failure["type"]) == ("failure", "check", "verify")
    assert backup in failure["cause"] + failure["cure"] and failure["cure"]
    assert (recovery["event"], recovery["job"]) == ("recovery", "check")


def test_no_success_for_too_long(workspace, database, http):
    ws = telling(workspace, database, [{"webhook": http.url("/hook"), "on": ["stale"], "stale": "1h", "job": "yearly"}], hourly(),
                 yearly={"type": "prune", "schedule": "0 0 1 1 *"})

    def look():
        with ws.start("daemon") as daemon:
            begun(ws, daemon)
            stop(daemon)
        with sqlite3.connect(ws.state / "journal.db") as db:
            return db.execute("select count(*) from notices").fetchone()[0]

    assert look() == 0, "told of a job that has just become known"
    age(ws, troubles_since_us=2)
    assert look() == 1
    assert look() == 1, "told again at once"
    age(ws, notices_created_us=13, troubles_since_us=13)
    with ws.start("daemon") as daemon:
        wait_until(lambda: len(told(http)) >= 2, 20, "what is stale to be told")
        stop(daemon)
    ws.run("run", "demo/yearly")
    assert look() == 2, "told after a success"
    assert kinds(http) == ["stale"] * 2 and told(http)[0]["job"] == "yearly"
    assert "never succeeded" in told(http)[0]["cause"] and told(http)[0]["last_success"] is None and told(http)[0]["cure"]


def test_a_policy_that_cannot_be_read_is_told(workspace, database, http):
    ws = telling(workspace, database, [{"webhook": http.url("/hook")}], hourly())
    good = ws.policy_file.read_text()
    with ws.start("daemon") as daemon:
        begun(ws, daemon)
        ws.policy_file.write_text(good.replace('"cluster"', '"clutser"'))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: told(http), 20, "the bad policy to be told")
        stop(daemon)
    event, = told(http)
    assert (event["event"], event["cluster"], event["job"]) == ("policy", "demo", "")
    assert "cluster" in event["cause"] and f"{ws.policy_file}:" in event["cause"] and "policy check" in event["cure"]


def test_that_nobody_can_be_told_is_an_alarm(workspace, database, http):
    """Of a receiver that refuses for good, and of one that can't be reached and is tried again."""
    http.answers, http.reply = [410], b"gone"
    ws = telling(workspace, database, [{"webhook": http.url("/hook"), "on": ["success"]}], "* * * * * *")

    def alarms():
        return [(a["cluster"], a["job"], a["text"]) for a in ws.run("status", json=True).json["alarms"] if a["what"] == "untold"]

    def metrics():
        lines = ws.run("metrics").out.splitlines()
        return {w: float(line.split()[-1]) for line in lines for w in ("notifications_pending", "notifications_failed", 'alarms{kind="untold"}')
                if line.startswith(f"pgcairn_{w}")}

    assert alarms() == [] and metrics().get('alarms{kind="untold"}', 0) == 0
    with ws.start("daemon") as daemon:
        wait_until(alarms, 20, "the alarm of what was given up")
        (cluster, job_name, text), = alarms()
        assert (cluster, job_name) == ("demo", None) and f"webhook http://localhost:{http.port}/***" in text
        assert "not tried again" in text and "answered 410" in text
        assert metrics()["notifications_failed"] >= 1 and metrics()['alarms{kind="untold"}'] == 1
        assert "ALARM demo: webhook" in ws.run("status").out
        http.answers = [503]
        wait_until(lambda: "answered 503" in (alarms() or [("", "", "")])[0][2], 20, "the alarm of what waits")
        assert metrics()["notifications_pending"] >= 1
        stop(daemon)
    http.answers = [200]
    age(ws, notices_next_us=1)
    ws.run("notify", "demo", "--pending")
    assert alarms() == [] and metrics()["notifications_pending"] == 0
