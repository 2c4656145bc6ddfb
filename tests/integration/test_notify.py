"""Telling people: `notify` and `run --notify` against receivers that are real servers."""
import json
import signal
import sqlite3
import subprocess
import time

import pytest
from cairn import assert_error
from pg import wait_until
from told import HttpReceiver, SmtpReceiver, certificate

pytestmark = pytest.mark.stores("file")

SECRET = "s3cr3tpath"


@pytest.fixture
def http():
    with HttpReceiver() as receiver:
        yield receiver


def telling(workspace, notify, databases=("small",)):
    jobs = {"nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"last": 5}},
            "prune": {"type": "prune", "schedule": "15 5 * * *"}}
    return workspace(databases, jobs=jobs, notify=notify)


def mail(smtp, **more):
    return {"email": {"to": ["dba@example.com", "ops@example.com"], "from": "cairn@example.com", "smtp": smtp.url(), **more.pop("login", {})},
            **more}


def no_secret(run, *secrets):
    for secret in (SECRET, *secrets):
        assert secret not in run.out and secret not in run.err, str(run)


def add_to_outbox(ws, target, kind="failure", count=1, state="pending"):
    """What the daemon does when something happened; the table is in src/journal/README.md."""
    now = int(time.time() * 1e6)
    columns = {"cluster": "demo", "job": "nightly", "target": target, "kind": kind, "created_us": now, "next_us": now, "state": state,
               "attempts": 0, "error": ""}
    with sqlite3.connect(ws.state / "journal.db") as db:
        for i in range(count):
            event = {"event": kind, "at": "2026-11-29T02:00:00Z", "cluster": "demo", "job": "nightly", "cause": f"number {i}"}
            row = {**columns, "event": json.dumps(event)}
            db.execute(f"insert into notices ({', '.join(row)}) values ({', '.join('?' * len(row))})", list(row.values()))


def make_due(ws):
    with sqlite3.connect(ws.state / "journal.db") as db:
        db.execute("update notices set next_us = 0 where next_us is not null and next_us > 0")


def pending(ws):
    state = ws.run("notify", "demo", json=True).json
    return state["pending"], state["failed"]


def test_each_kind_is_told(workspace, tmp_path, http):
    tls = certificate(tmp_path)
    with SmtpReceiver(tls=tls, login=("cairn", "mail-secret")) as smtp:
        ws = telling(workspace, [
            {"webhook": http.url(f"/hook/{SECRET}"), "job": "nightly"}, {"slack": http.url(f"/services/{SECRET}")},
            {"ping": http.url(f"/ping/{SECRET}?create=1"), "job": "nightly"},
            mail(smtp, login={"user": "cairn", "password": "mail-secret"}, ca_file=str(tls.ca))])
        listed = ws.run("notify", "demo")
        assert "nightly" in listed.out and f"http://localhost:{http.port}/***" in listed.out
        dry = ws.run("notify", "demo", "--test", "--dry-run", json=True)
        assert [w["suffix"] for w in dry.json["would_send"]] == ["", "", "/log", ""] and not http.requests and not smtp.mails
        run = ws.run("notify", "demo", "--test", json=True)
        assert [r["delivered"] for r in run.json["results"]] == [True] * 4
        for each in (listed, dry, run):
            no_secret(each, "mail-secret")
    came = {r.path.split("/")[1]: r for r in http.requests}
    event = json.loads(came["hook"].body)
    assert came["hook"].path == f"/hook/{SECRET}" and came["hook"].headers["Content-Type"] == "application/json"
    assert event["test"] is True and (event["event"], event["cluster"], event["job"]) == ("failure", "demo", "nightly")
    text = json.loads(came["services"].body)["text"]
    assert "Test, nothing happened: demo/nightly failed" in text
    assert came["ping"].path == f"/ping/{SECRET}/log?create=1"
    (sent,) = smtp.mails
    assert sent.is_tls and sent.login == ("cairn", "mail-secret") and sent.sender == "cairn@example.com"
    assert sent.to == ["dba@example.com", "ops@example.com"]
    assert sent.message["Subject"].startswith("[pgcairn] Test, nothing happened: demo/nightly failed")
    assert sent.message["To"] == "dba@example.com, ops@example.com" and sent.message["Message-ID"].endswith("@example.com>")
    assert "This is a test of the notifications" in sent.message.get_content()


def test_run_tells_how_it_begins_and_ends(workspace, database, http):
    """A timer's run: /start, the exit status, and the first success after it as recovery; never the run's own failure."""
    database("small", "create table t as select 1 as v")
    ws = telling(workspace, [{"webhook": http.url("/hook"), "on": ["failure", "recovery", "success"]},
                             {"ping": http.url("/ping"), "job": "nightly"}, {"webhook": "http://localhost:9/closed", "on": ["start", "success"]}])
    good = ws.policy["postgres"]["connection"]
    ws.policy["postgres"]["connection"] = "postgresql:///small?host=/nowhere"
    ws.write()
    failed = ws.run("run", "demo/nightly", "--notify", expect=3)
    start, = (r for r in http.requests if r.path.startswith("/ping/start?rid="))
    end, = (r for r in http.requests if r.path.startswith("/ping/3?rid="))
    assert start.path.split("rid=")[1] == end.path.split("rid=")[1] and "/nowhere" in end.body
    event, = (json.loads(r.body) for r in http.requests if r.path == "/hook")
    assert event["event"] == "failure" and "/nowhere" in event["cause"] and event["cure"] and event["code"] == "connection"
    assert "not told: webhook http://localhost:9/***" in failed.err
    http.requests.clear()
    ws.policy["postgres"]["connection"] = good
    ws.policy["notify"].pop()
    ws.write()
    done = ws.run("run", "demo/nightly", "--notify", json=True)
    told = [e for r, e in ((r, r.body) for r in http.requests) if r.path == "/hook"]
    assert [json.loads(e)["event"] for e in told] == ["success", "recovery"]
    assert json.loads(told[0])["backup_id"] == done.json["backup_id"] and json.loads(told[0])["run_id"] == done.json["run_id"]
    assert [r.path.split("?")[0] for r in http.requests if r.path.startswith("/ping")] == ["/ping/start", "/ping"]
    http.requests.clear()
    ws.run("run", "demo/nightly")
    assert not http.requests, "told without --notify"


def test_run_without_a_journal(workspace, database, http):
    """The journal's place is a file: nothing is recorded, and people are told all the same, in a few tries."""
    database("small", "create table t as select 1 as v")
    ws = telling(workspace, [{"webhook": http.url("/hook"), "on": ["success"]}])
    http.answers = [503, 200]
    (ws.folder / "no-folder").write_text("")
    run = ws.run("run", "demo/nightly", "--notify", env={"STATE_DIRECTORY": str(ws.folder / "no-folder")})
    assert "not recorded" in run.err and [e["event"] for e in http.events] == ["success", "success"]
    listed = ws.run("notify", "demo", json=True, env={"STATE_DIRECTORY": str(ws.folder / "no-folder")}, expect=3)
    assert listed.json["pending"] is None and len(listed.json["targets"]) == 1


def test_a_trouble_that_lasts_is_told_once(workspace, http):
    """And a receiver that hangs at the start costs the run five seconds, not its life."""
    with HttpReceiver() as hung:
        hung.answers = ["hang"]
        ws = telling(workspace, [{"webhook": http.url("/hook")}, {"ping": hung.url("/ping"), "on": ["start"], "job": "prune"}])
        ws.policy["postgres"]["connection"] = "postgresql:///small?host=/nowhere"
        ws.write()
        for _ in range(2):
            ws.run("run", "demo/nightly", "--notify", expect=3)
        began = time.monotonic()
        run = ws.run("run", "demo/prune", "--notify")
        assert 4.9 < time.monotonic() - began < 10 and "no answer in time" in run.err
    assert [(e["event"], e["job"]) for e in http.events] == [("failure", "nightly")]


def test_refused_then_accepted(workspace, http):
    """A row waits and is tried again, in its order, until it is accepted; what is refused for good is given up."""
    ws = telling(workspace, [{"webhook": http.url(f"/hook/{SECRET}")}])
    ws.run("run", "demo/prune", expect=None)
    key = ws.run("notify", "demo", json=True).json["targets"][0]["key"]
    add_to_outbox(ws, key, count=3)
    http.answers, http.reply = [503, 429, 404, 200], f"trouble at /hook/{SECRET}".encode()
    for i in range(3):
        run = ws.run("notify", "demo", "--pending", json=True)
        assert (run.json["delivered"], run.json["failed"]) == (0, 1), str(run)
        notice = run.json["notices"][0]
        assert notice["error"]["message"].endswith(f"answered {[503, 429, 404][i]}") and notice["next_try"]
        no_secret(run)
        assert ws.run("notify", "demo", "--pending", json=True).json["notices"] == [], "tried again at once"
        make_due(ws)
    assert pending(ws) == (3, 0)
    dry = ws.run("notify", "demo", "--pending", "--dry-run", json=True).json
    assert len(dry["notices"]) == 1 and dry["dry_run"]
    assert ws.run("notify", "demo", "--pending", json=True).json["delivered"] == 3
    assert [e["cause"] for e in http.events] == ["number 0"] * 4 + ["number 1", "number 2"] and pending(ws) == (0, 0)
    add_to_outbox(ws, key)
    http.answers, http.reply = [410], b"it is gone"
    run = ws.run("notify", "demo", "--pending")
    assert "answered 410: it is gone; given up" in run.err
    assert pending(ws) == (0, 1) and "could not be told" in ws.run("notify", "demo").out
    add_to_outbox(ws, "webhook-0123456789ab")
    assert "no longer has the target webhook-0123456789ab" in ws.run("notify", "demo", "--pending").err


def children(daemon):
    return subprocess.run(["ps", "-o", "pid=", "--ppid", str(daemon.process.pid)], capture_output=True, text=True).stdout.split()


def test_the_daemon_tells_of_a_failure_among_successes(workspace, http):
    """However many successes it told of within the hour; and it sees the end of who delivers when nobody is to be told any more."""
    http.answers = ["hang"]
    ws = telling(workspace, [{"webhook": http.url("/hook"), "on": ["success", "failure"]}])
    ws.policy["jobs"]["nightly"].update(schedule="* * * * * *", seconds=True)
    ws.policy["postgres"]["connection"] = "postgresql:///small?host=/nowhere"
    ws.write()
    ws.run("run", "demo/prune", expect=None)
    add_to_outbox(ws, ws.run("notify", "demo", json=True).json["targets"][0]["key"], "success", count=20, state="delivered")
    with ws.start("daemon") as daemon:
        wait_until(lambda: http.requests, 20, "the failure is told")
        assert http.events[0]["event"] == "failure" and "/nowhere" in http.events[0]["cause"]
        ws.policy["notify"], ws.policy["jobs"]["nightly"]["schedule"] = [], "0 0 1 1 * 0"
        ws.write()
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "policies read again" in daemon.err, 20, "the new policy")
        assert "stays in force" not in daemon.err and children(daemon), "who delivers has not ended"
        http.released.set()
        wait_until(lambda: not children(daemon), 20, "its end is seen")


def test_policy_on_stdin(workspace, http):
    ws = telling(workspace, [{"webhook": http.url("/hook")}])
    ws.run("run", "demo/prune", expect=None)
    key = ws.run("notify", "demo", json=True).json["targets"][0]["key"]
    add_to_outbox(ws, key)
    text = ws.policy_file.read_bytes()
    assert_error(ws.run("notify", "other", "--pending", "--policy-stdin", stdin=text, expect=2), "is of demo")
    ws.policy_file.write_text("broken: [")
    run = ws.run("notify", "demo", "--pending", "--policy-stdin", stdin=text)
    assert "failure is told to webhook" in run.out and len(http.requests) == 1


def test_a_hanging_receiver_holds_up_nobody(workspace, http):
    with HttpReceiver() as hung:
        hung.answers = ["hang"]
        ws = telling(workspace, [{"webhook": hung.url(f"/{SECRET}")}, {"slack": http.url("/other")}])
        began = time.monotonic()
        run = ws.run("notify", "demo", "--test", json=True, expect=1)
        assert 14 < time.monotonic() - began < 18
        first, second = run.json["results"]
        assert first["error"]["code"] == "timeout" and not first["delivered"]
        assert second["delivered"] and second["took_s"] < 5
        assert_error(run, "no answer in time")
        no_secret(run)


def test_tls_is_checked(workspace, tmp_path):
    tls = certificate(tmp_path)
    with HttpReceiver(tls) as https, SmtpReceiver(tls, implicit=True) as smtps, SmtpReceiver(tls) as starttls, SmtpReceiver() as plain:
        ws = telling(workspace, [{"webhook": https.url("/hook")}, mail(smtps), mail(starttls), mail(plain)])
        run = ws.run("notify", "demo", "--test", json=True, expect=1)
        assert [r["delivered"] for r in run.json["results"]] == [False, False, True, True]
        assert_error(run, "certificate", "ca_file")
        assert not https.requests and not smtps.mails and len(plain.mails) == len(starttls.mails) == 1
        for entry in ws.policy["notify"]:
            entry["ca_file"] = str(tls.ca)
        ws.write()
        run = ws.run("notify", "demo", "--test", json=True, expect=1)
        assert [r["delivered"] for r in run.json["results"]] == [True, True, True, False]
        assert "STARTTLS" in run.json["results"][3]["error"]["hint"]
        assert smtps.mails[0].is_tls and starttls.mails[1].is_tls and len(plain.mails) == 1
        ws.policy["notify"] = [{"webhook": https.url("/hook").replace("localhost", "127.0.0.1"), "ca_file": str(tls.ca)}]
        ws.write()
        assert_error(ws.run("notify", "demo", "--test", expect=1), "127.0.0.1", "certificate")


def test_mail_that_is_refused(workspace, tmp_path):
    refusals = {"dba@example.com": "550 no such user"}
    with SmtpReceiver(login=("cairn", "right-secret"), refuse=refusals) as smtp:
        secret = tmp_path / "password"
        secret.write_text("right-secret\n")
        secret.chmod(0o600)
        ws = telling(workspace, [mail(smtp, login={"user": "cairn", "password_file": str(secret)})])
        ws.run("notify", "demo", "--test")
        assert [m.to for m in smtp.mails] == [["ops@example.com"]], "one bad address keeps it from the others"
        smtp.refuse["ops@example.com"] = "550 neither"
        assert_error(ws.run("notify", "demo", "--test", expect=1), "refused the mail", "550")
        secret.write_text("wrong-secret\n")
        run = ws.run("notify", "demo", "--test", expect=1)
        assert_error(run, "refused user and password")
        no_secret(run, "wrong-secret", "right-secret")


def test_answers_that_are_no_yes(workspace, http):
    """A redirect is not followed, a reply without end is not read, a secret is not repeated."""
    ws = telling(workspace, [{"webhook": http.url(f"/hook/{SECRET}")}])
    http.answers, http.headers = [307], {"Location": http.url("/elsewhere")}
    assert_error(ws.run("notify", "demo", "--test", expect=1), "answered 307", "not followed")
    assert len(http.requests) == 1
    http.answers, http.headers, http.reply = [200], {}, b"x" * 5_000_000
    assert "accepted" in ws.run("notify", "demo", "--test").out
    http.answers, http.reply = [403], f"no /hook/{SECRET}".encode()
    run = ws.run("notify", "demo", "--test", expect=1)
    assert_error(run, "answered 403", "check the URL")
    no_secret(run)
    http.reply = b"<html>\nno"
    assert ws.run("notify", "demo", "--test", json=True, expect=1).json["results"][0]["error"]["message"].endswith("answered 403")


def test_wrong_use(workspace, http):
    ws = telling(workspace, [{"webhook": http.url("/hook")}])
    for words, said in ((["--target", "1"], "--target needs --test"), (["--test", "--pending"], "exclude each other"),
                        (["--dry-run"], "--dry-run needs"), (["--test", "--target", "2"], "--target"),
                        (["--test", "--target", "webhook-1"], "no target"), (["--test", "--target", ""], "no target"),
                        (["--test", "--event", "boom"], "no event \"boom\""), (["--test", "--job", "none"], "no job \"none\""),
                        (["--pending", "--event", "failure"], "--event needs --test")):
        assert_error(ws.run("notify", "demo", *words, expect=2), said)
    assert_error(ws.run("notify", "nobody", expect=2), "nobody")
    assert not http.requests
    ws.policy["notify"] = []
    ws.write()
    assert "tells nobody" in ws.run("notify", "demo").out
    assert_error(ws.run("notify", "demo", "--test", expect=2), "tells nobody")
