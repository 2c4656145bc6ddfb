"""What an operator meets sooner or later: things that can't be read, runs that were killed or came
second, a neighbour's bad policy, words that are almost right."""
import os
import pwd
import shutil
import signal

import pytest
from cairn import JOBS, assert_error
from slow_dump import mid_dump, slow_workspace

# What is not about the repository runs with one store.
one_store = pytest.mark.stores("file")
DUE = "2026-11-21T02:00:00Z"


@pytest.fixture
def small(workspace, database):
    database("small", "create table t as select 1 as v")
    return workspace(["small"])


def job_status(ws, name="nightly"):
    status = ws.run("status", json=True).json
    (job,) = [j for j in status["jobs"] if j["job"] == name]
    return job, [a["what"] for a in status["alarms"] if a["job"] == name]


def add_neighbour(ws, text):
    """A second policy beside the workspace's own; from here on ws uses the folder of both."""
    folder = ws.folder / "policies"
    folder.mkdir()
    shutil.copy(ws.policy_file, folder / "a.yaml")
    (folder / "b.yaml").write_text(text)
    os.chmod(folder / "b.yaml", 0o600)
    ws.policy_file = folder


LOOKING = [("list",), ("list", "demo"), ("show", "demo", "latest"), ("prune", "demo"), ("simulate", "demo"),
           ("hold", "list", "demo")]


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_what_looks_and_can_not_see_exits_3(small, command):
    small.repository.hide()
    run = small.run(*command, expect=3)
    assert_error(run, *small.repository.words_when_hidden)
    assert run.out == ""


def test_work_on_an_unreadable_repository_fails(small):
    small.repository.hide()
    status = 1 if small.repository.kind == "file" else 3  # refused by a service: another try may pass
    assert_error(small.run("run", "demo/nightly", expect=status), *small.repository.words_when_hidden)


@one_store
def test_one_unreadable_repository_does_not_hide_the_others(small):
    backup = small.dump()
    blocked = small.folder / "blocked"
    blocked.write_text("not a folder")
    add_neighbour(small, small.policy_file.read_text().replace('"demo"', '"aaa"').replace(str(small.repository.path), str(blocked)))
    run = small.run("list", json=True, expect=3)
    assert_error(run, "aaa", str(blocked))
    assert [(b["cluster"], b["id"]) for b in run.json["backups"]] == [("demo", backup)]


@one_store
@pytest.mark.parametrize("command", [("run", "demo/nightly"), ("list", "demo"), ("status", "demo"), ("check", "demo")],
                         ids=" ".join)
def test_a_neighbour_with_a_bad_policy_is_no_obstacle(small, command):
    add_neighbour(small, "cluster: [")
    run = small.run(*command)
    assert "b.yaml is left out" in run.err
    assert_error(small.run(command[0], command[1].replace("demo", "nobody"), expect=2), "b.yaml")


def test_an_unfinished_backup_is_shown_as_what_it_is(small):
    backup = small.dump()
    small.repository.delete(small.backup_key(backup, "manifest.json"))
    run = small.run("show", "demo", backup, expect=1)
    assert "unfinished" in run.err and backup in run.err, str(run)


# -- status ----------------------------------------------------------------------------------------


@one_store
def test_a_run_that_came_second_hides_nothing(workspace, database):
    ws = slow_workspace(workspace, database)
    ws.policy["defaults"]["lock_wait"] = "1s"
    ws.write()
    with mid_dump(ws) as first:
        ws.run("run", "demo/nightly", expect=4)
        job, alarms = job_status(ws)
        assert first.running(), "the dump had ended; the test proves nothing"
        assert job["running"] and alarms == []
        first.wait(0)
    job, alarms = job_status(ws)
    assert job["last"]["outcome"] == "done" and alarms == []


def test_a_killed_run_is_told_before_the_next_one(workspace, database):
    ws = slow_workspace(workspace, database)
    with mid_dump(ws) as first:
        os.killpg(first.process.pid, signal.SIGKILL)
        first.process.wait()
    job, alarms = job_status(ws)
    assert (job["running"], job["last"]["outcome"], alarms) == (None, "interrupted", ["failing"])


@one_store
def test_status_without_a_journal_says_where_it_looked(small):
    run = small.run("status", json=True)
    assert str(small.state) in run.err and "STATE_DIRECTORY" in run.err
    small.dump()
    assert small.run("status", json=True).err == ""


@one_store
def test_status_of_an_unreadable_journal_could_not_tell(small):
    (small.state / "journal.db").write_text("no database at all, but long enough to have a header" * 20)
    assert_error(small.run("status", expect=3), "journal")


# -- a due instant that another run has had ----------------------------------------------------------


def test_a_due_instant_that_failed_is_no_success(small):
    small.repository.hide()
    small.run("run", "demo/nightly", "--due", DUE, expect=(1, 3))
    small.repository.show()
    again = small.run("run", "demo/nightly", "--due", DUE, json=True, expect=1)
    assert (again.json["outcome"], again.json["error"]["code"]) == ("skipped", "failed")
    assert_error(again, "not again", "--attempt 2")
    assert small.run("run", "demo/nightly", "--due", DUE, "--attempt", "2", json=True).json["outcome"] == "done"
    assert small.run("run", "demo/nightly", "--due", DUE, json=True).json["outcome"] == "skipped"


@one_store
def test_a_due_instant_under_way_is_busy(workspace, database):
    ws = slow_workspace(workspace, database)
    with ws.start("run", "demo/nightly", "--due", DUE) as first:
        while first.running() and job_status(ws)[0]["running"] is None:
            pass
        run = ws.run("run", "demo/nightly", "--due", DUE, expect=4)
        assert first.running(), "the dump had ended; the test proves nothing"
        assert_error(run, "not again", "running")
        first.wait(0)


# -- words -------------------------------------------------------------------------------------------


@one_store
def test_a_group_of_commands_lists_its_members(small):
    for words in (["hold"], ["help", "hold"]):
        assert_error(small.run(*words, expect=2), "hold add", "hold list", "hold release")


@one_store
def test_a_word_that_is_no_id_leads_to_the_ids(small):
    small.dump()
    assert_error(small.run("hold", "add", "demo", "nonsense", "--reason", "x", expect=2), "pgcairn list demo")
    assert_error(small.run("hold", "release", "demo", "nonsense", "--reason", "x", expect=2), "pgcairn hold list demo")


@one_store
@pytest.mark.parametrize("url", ["file:///srv/../pgcairn", "file:///srv/..", "file:////"])
def test_a_repository_the_store_refuses_is_a_policy_error(small, url):
    small.policy["repository"]["url"] = url
    small.write()
    run = small.run("policy", "check", expect=2)
    assert "policy.yaml:" in run.out + run.err and '"url"' in run.out + run.err


@one_store
def test_a_word_as_schedule_is_spread_and_says_so(workspace, database):
    database("small", "create table t as select 1 as v")
    jobs = {"nightly": {**JOBS["nightly"], "schedule": "@daily"}}
    ws = workspace(["small"], jobs=jobs)
    (policy,) = ws.run("policy", "check", json=True).json["policies"]
    (warning,) = [w["message"] for w in policy["warnings"] if "@daily" in w["message"]]
    hour, minute = warning.split('"')[3].split()[1::-1]
    assert f"T{int(hour):02}:{int(minute):02}:" in policy["runs"][0]["due"]


@one_store
def test_check_tells_who_is_told_and_shows_no_secret_of_it(small):
    (policy,) = small.run("policy", "check", json=True).json["policies"]
    assert policy["notify"] == [] and "told of trouble: nobody" in small.run("policy", "check").out
    small.policy["notify"] = [
        {"webhook": "https://u:hunter2@a.example/T0/hunter2?token=hunter2", "job": "nightly"},
        {"email": {"to": ["a@b.example", "c@d.example"], "from": "e@f.example", "smtp": "smtps://mail.example",
                   "user": "u", "password": "hunter2"}, "stale": "26h"}]
    small.policy["defaults"]["hooks"] = {"before": [["/bin/pause", "a b"]], "timeout": "9s"}
    small.write()
    run = small.run("policy", "check")
    (policy,) = small.run("policy", "check", json=True).json["policies"]
    assert policy["notify"] == ["webhook https://a.example/***", "email to a@b.example and others by smtps://mail.example"]
    for line in ('- webhook: "https://a.example/***"', 'job: ["nightly"]', 'password: "***"',
                 "stale: 1d 2h", 'before: [["/bin/pause", "a b"]]', "timeout: 9s", "told of trouble: webhook https://a.example"):
        assert line in run.out, line
    assert "hunter2" not in run.out + run.err and "on: [failure, recovery, missed, stale, policy]" in run.out


@one_store
def test_a_schedule_that_is_over_is_told(small):
    small.policy["jobs"]["nightly"].update(schedule="0 0 1 1 * 0 2020", seconds=True)
    small.write()
    (policy,) = small.run("policy", "check", json=True).json["policies"]
    assert any("never runs" in w["message"] and "nightly" in w["message"] for w in policy["warnings"]), policy


@one_store
@pytest.mark.parametrize("content, word", [(None, "No such file"), ("", "is empty"), ("two\nlines\n", "one line")])
def test_a_password_file_that_is_no_use(small, content, word):
    file = small.folder / "password"
    if content is not None:
        file.write_text(content)
        os.chmod(file, 0o600)
    small.policy["postgres"].update(connection="host=localhost dbname=small user=nobody", password_file=str(file))
    small.write()
    assert_error(small.run("run", "demo/nightly", expect=1), word, "one line, mode 0600")


def test_an_emptied_repository_is_noticed(small):
    assert small.run("run", "demo/nightly", json=True).json["notices"] == []
    backup = small.list()[0]["id"]
    small.repository.clear()
    run = small.run("run", "demo/nightly", json=True)
    assert run.json["outcome"] == "done"
    assert any(backup in n and "mounted" in n for n in run.json["notices"]) and backup in run.err
    assert small.run("run", "demo/nightly", json=True).json["notices"] == []


@one_store
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_does_by_hand_locks_no_owner_out(small):
    owner = pwd.getpwnam("nobody")
    folder = small.repository.path
    folder.mkdir()
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    backup = small.dump()
    small.run("hold", "add", "demo", backup, "--reason", "x")
    small.run("prune", "demo", "--apply")
    made = [folder, *folder.rglob("*")]
    assert {(p.stat().st_uid, p.stat().st_gid) for p in made} == {(owner.pw_uid, owner.pw_gid)}
    assert {oct(p.stat().st_mode & 0o777) for p in made[1:]} == {"0o600", "0o700"}
