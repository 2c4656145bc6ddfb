"""WAL archived and fetched by a real server: nothing lost, nothing foreign, nothing short."""
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
from archive import Archive, hex_name, scratch
from cairn import assert_error
from pg import Server, as_user, clean_environment, wait_until

SEGMENT = 16 << 20
FILL = "create table if not exists t (a int, b text); insert into t select g, md5(g::text) from generate_series(1, 5000) g"


@pytest.fixture
def made():
    """Servers that are stopped after the test: made(Server(...))."""
    servers = []

    def keep(server):
        servers.append(server)
        return server

    yield keep
    for server in reversed(servers):
        server.stop()


@pytest.fixture
def archiving(made, store):
    """A server that archives, with its archive."""
    server = made(Server("wal"))
    archive = Archive(server, store=store)
    server.configure(**archive.settings())
    server.start()
    return archive


@pytest.fixture
def backlog(made, store):
    """A server that was stopped with nothing archived, so that a test can push by hand."""
    server = made(Server("backlog"))
    archive = Archive(server, store=store)
    server.configure(**archive.settings(archive_command="false"))
    server.start()
    for _ in range(6):
        server.psql("postgres", FILL + "; select pg_switch_wal()")
    server.halt()
    archive.ready = sorted(p.name.removesuffix(".ready")
                           for p in (server.data / "pg_wal/archive_status").glob("*.ready"))
    assert len(archive.ready) >= 6
    return archive


def total(server):
    return server.psql("postgres", "select count(*), sum(a::bigint), md5(string_agg(b, '' order by a, b)) from t")


# -- push ----------------------------------------------------------------------------------------


def test_push_stores_the_file_and_those_behind_it(backlog):
    names = backlog.ready
    backlog.push(names[0])
    assert sorted(backlog.segments()) == names
    for name in names:
        assert backlog.plain(name) == (backlog.server.data / "pg_wal" / name).read_bytes()
    assert len(backlog.plain(names[0])) == SEGMENT


def test_what_was_stored_ahead_is_answered_without_the_repository(backlog):
    names = backlog.ready
    backlog.push(names[0])
    backlog.hide()
    for name in names:
        backlog.push(name)
        backlog.run("push", "demo", f"pg_wal/{name}", program="pgcairn-wal")
    touched = backlog.server.data / "pg_wal" / names[3]
    os.utime(touched)
    for program, words in (("pgcairn", ["wal"]), ("pgcairn-wal", [])):
        backlog.run(*words, "push", "demo", f"pg_wal/{names[3]}", program=program, expect=(1, 3))
    # Another policy may mean another repository: its marks are not believed.
    backlog.write()
    backlog.run("push", "demo", f"pg_wal/{names[4]}", program="pgcairn-wal", expect=(1, 3))


def test_same_content_again_is_success_other_is_refused(backlog):
    names = backlog.ready
    backlog.push(names[0])
    shutil.rmtree(backlog.state / "wal")
    backlog.push(names[0])
    (stored,) = backlog.segments()[names[1]]
    path = backlog.server.data / "pg_wal" / names[1]
    content = bytearray(path.read_bytes())
    content[SEGMENT // 2] ^= 1
    path.write_bytes(content)
    run = backlog.push(names[1], expect=1)
    assert_error(run, names[1], "other content", "not overwritten", "cluster of its own")
    assert backlog.segments()[names[1]] == [stored]


def test_behind_a_failure_nothing_is_marked(backlog):
    names = backlog.ready
    with open(backlog.server.data / "pg_wal" / names[3], "r+b") as bad:
        bad.truncate(SEGMENT // 2)
    backlog.push(names[0])
    stored = backlog.segments()
    assert names[3] not in stored and set(names[:3]) <= set(stored)
    marks = (backlog.state / "wal/demo/marks").read_text()
    assert [n in marks for n in names[:6]] == [True, True, True, False, False, False]
    assert_error(backlog.push(names[3], expect=1), names[3], "8388608 bytes, a segment has 16777216")
    backlog.push(names[4])


@pytest.mark.stores("file")
@pytest.mark.parametrize("change, words", [
    (lambda b: b[:30], ["30 bytes are too short"]),
    (lambda b: b"", ["0 bytes are too short"]),
    (lambda b: b[:100], ["has 100 bytes, a segment has 16777216", "hint: "]),
    (lambda b: b"\0" * SEGMENT, ["magic number"]),
    (lambda b: b + b"\0" * 8192, ["16785408 bytes"]),
    (lambda b: b[:24] + b"\1" * 8 + b[32:], ["72340172838076673", "data directory is that of"]),
    (lambda b: b[:4] + b"\7" + b[5:], ["timeline 7"]),
    (lambda b: b[:8] + b"\0\0\0\0\1\0\0\0" + b[16:], ["position 1/0"]),
])
def test_what_is_no_segment_of_this_server_is_refused(backlog, change, words):
    name = backlog.ready[2]
    path = backlog.server.data / "pg_wal" / name
    path.write_bytes(change(path.read_bytes()))
    run = backlog.push(name, expect=1)
    assert all(w in run.err for w in words), str(run)
    assert name not in backlog.segments()


@pytest.mark.stores("file")
def test_a_wrong_call_of_push(backlog):
    assert_error(backlog.push("rubbish", expect=2), "no WAL file", "pgcairn-wal push demo %p")
    assert_error(backlog.push(hex_name(9, 9), expect=1), hex_name(9, 9), "No such file")
    run = backlog.run("push", "elsewhere", f"pg_wal/{backlog.ready[0]}", program="pgcairn-wal", expect=2)
    assert "elsewhere" in run.err
    assert not backlog.segments()


def test_two_pushes_of_one_file_at_once(backlog):
    name = backlog.ready[0]
    words = [str(backlog.bin / "pgcairn"), "-c", str(backlog.policy_file), "wal", "push", "demo", f"pg_wal/{name}"]
    env = clean_environment(**backlog.environment())
    children = [subprocess.Popen(words, cwd=backlog.server.data, env=env, **as_user(backlog.user)) for _ in range(4)]
    assert [c.wait(60) for c in children] == [0] * 4
    assert all(len(objects) == 1 for objects in backlog.segments().values())
    assert name in backlog.segments()


def test_fifty_pushes_are_killed(backlog):
    """kill -9 at random moments, between upload and acknowledgement too: the next call finds its way."""
    rounds = random.Random(6)
    words = [str(backlog.bin / "pgcairn"), "-c", str(backlog.policy_file), "wal", "push", "demo"]
    env = clean_environment(STATE_DIRECTORY=str(backlog.state))
    for number in range(50):
        child = subprocess.Popen([*words, f"pg_wal/{backlog.ready[number % 3]}"], cwd=backlog.server.data, env=env,
                                 stderr=subprocess.DEVNULL, **as_user(backlog.user))
        try:
            child.wait(rounds.uniform(0.005, 0.5))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if number % 10 == 9:
            shutil.rmtree(backlog.repository, ignore_errors=True)
            shutil.rmtree(backlog.state / "wal", ignore_errors=True)
    for name in backlog.ready:
        backlog.push(name)
        assert backlog.plain(name) == (backlog.server.data / "pg_wal" / name).read_bytes()
    assert sorted(backlog.segments()) == backlog.ready


def test_a_push_killed_at_any_moment(backlog):
    """kill -9 from its first breath to its last: what is there is whole, and there once."""
    names, delay, ended = backlog.ready, 0.01, False
    words = [str(backlog.bin / "pgcairn"), "-c", str(backlog.policy_file), "wal", "push", "demo", f"pg_wal/{names[0]}"]
    env = clean_environment(**backlog.environment())
    while not ended:
        shutil.rmtree(backlog.state / "wal", ignore_errors=True)
        child = subprocess.Popen(words, cwd=backlog.server.data, env=env, **as_user(backlog.user))
        try:
            assert child.wait(delay) == 0
            ended = True
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        delay *= 1.5
        for name in backlog.segments():
            assert backlog.plain(name) == (backlog.server.data / "pg_wal" / name).read_bytes()
    backlog.push(names[0])
    assert sorted(backlog.segments()) == names and all(len(keys) == 1 for keys in backlog.segments().values())


def test_one_cluster_has_one_server(archiving, made):
    """Two servers with one policy: the second one's WAL is refused, and the server keeps it."""
    archiving.server.psql("postgres", FILL)
    archiving.switch()
    other = made(Server("foreign"))
    foreign = Archive(other, repository=archiving.repository)
    other.configure(**foreign.settings())
    other.start()
    before = archiving.segments()
    other.psql("postgres", FILL + "; select pg_switch_wal()")
    other.wait_for("select failed_count > 0 from pg_stat_archiver")
    assert "system identifier" in other.log.read_text() and "cluster adopt demo" in other.log.read_text()
    assert archiving.segments() == before
    # A cluster of its own on the same prefix is welcome.
    second = Archive(other, cluster="second", repository=archiving.repository, name="second")
    other.configure(**second.settings())
    other.psql("postgres", "select pg_reload_conf()")
    other.wait_for("select archived_count > 0 from pg_stat_archiver")
    assert archiving.segments() == before and second.segments()


def test_after_an_adoption_the_old_servers_marks_are_no_answer(backlog, made):
    """The rebuilt server's segments have the names of those that were stored ahead."""
    names = backlog.ready
    other = made(Server("rebuilt"))
    backlog.policy["postgres"]["connection"] = other.url()
    backlog.write()
    backlog.push(names[0])
    before = {key: backlog.repository.read(key) for key in backlog.repository.keys("demo/wal/")}
    other.configure(**backlog.settings())
    other.start()
    other.psql("postgres", FILL + "; select pg_switch_wal()")
    other.wait_for("select failed_count > 0 from pg_stat_archiver")
    backlog.run("cluster", "adopt", "demo", "--reason", "a test rebuilt it")
    for _ in range(3):
        other.psql("postgres", FILL + "; select pg_switch_wal()")
    other.wait_for("select archived_count >= 4 from pg_stat_archiver")
    system = other.value("postgres", "select system_identifier from pg_control_system()")
    theirs = {k.rsplit("/", 1)[-1][:24] for k in backlog.repository.keys(f"demo/wal/{system}/") if k.endswith(".zst")}
    assert set(names[:4]) <= theirs
    assert {key: backlog.repository.read(key) for key in before} == before
    os.utime(backlog.server.data / "pg_wal" / names[1])
    assert_error(backlog.push(names[1], expect=1), "system identifier")


# -- fetch ---------------------------------------------------------------------------------------


def test_recovery_gives_back_every_row(archiving, made):
    server = archiving.server
    server.psql("postgres", FILL)
    copy = made(archiving.copy())
    for _ in range(24):
        server.psql("postgres", FILL + "; select pg_switch_wal()")
    archiving.switch()
    archiving.recover(copy)
    copy.wait_for("select not pg_is_in_recovery()")
    assert total(copy) == total(server)
    leftovers = [p.name for p in (copy.data / "pg_wal").iterdir() if "pgcairn" in p.name]
    assert not leftovers
    wait_until(lambda: not archiving.own_processes(), 40, "the helper ends by itself")
    assert not list((archiving.state / "wal/demo/ahead").iterdir())


def test_what_was_fetched_ahead_is_put_in_place_without_the_repository(backlog):
    """By its mark, without a proof; one that changed since is proved again, and is not served."""
    names, destination = backlog.ready, "pg_wal/RECOVERYXLOG"
    backlog.push(names[0])
    backlog.run("fetch", "demo", names[0], destination, program="pgcairn-wal")

    def entries():
        return {p.name[:24]: p for p in (backlog.state / "wal/demo/ahead").glob("*/*-*") if p.suffix != ".part"}

    def marked():
        (marks,) = (backlog.state / "wal/demo/ahead").glob("*/marks")
        return marks.read_text()

    wait_until(lambda: set(names[1:]) <= set(entries()) and all(n in marked() for n in names[1:]), 60, "all are marked")
    backlog.hide()
    for name in names[1:3]:
        inode = entries()[name].stat().st_ino
        backlog.run("fetch", "demo", name, destination, program="pgcairn-wal")
        assert (backlog.server.data / destination).stat().st_ino == inode
        assert (backlog.server.data / destination).read_bytes() == (backlog.server.data / "pg_wal" / name).read_bytes()
    (backlog.server.data / destination).unlink()
    with open(entries()[names[3]], "r+b") as file:
        file.seek(5000)
        file.write(b"changed")
    backlog.run("fetch", "demo", names[3], destination, program="pgcairn-wal", expect=126)
    assert not (backlog.server.data / destination).exists()
    backlog.show()
    backlog.policy["defaults"]["retries"] = 1  # another file: it might name another repository
    backlog.write()
    inode = entries()[names[4]].stat().st_ino
    backlog.run("fetch", "demo", names[4], destination, program="pgcairn-wal")
    assert (backlog.server.data / destination).read_bytes() == (backlog.server.data / "pg_wal" / names[4]).read_bytes()
    assert inode == (backlog.server.data / destination).stat().st_ino, "proved again, by the whole program"
    for pid in backlog.own_processes("ahead"):
        os.kill(pid, signal.SIGTERM)


def test_exit_statuses_of_fetch(backlog):
    names = backlog.ready
    backlog.push(names[0])
    target = scratch() / "file"
    (first,) = backlog.segments()[names[0]]
    backlog.fetch(names[1], target)
    assert target.read_bytes() == (backlog.server.data / "pg_wal" / names[1]).read_bytes()
    target.unlink()
    last = int(names[-1], 16)
    beyond = f"{last + 1:024X}"
    backlog.fetch(beyond, target, expect=1)
    backlog.fetch("00000002.history", target, expect=1)
    stored = backlog.repository
    stored.delete(backlog.segments()[names[2]][0])
    assert_error(backlog.fetch(names[2], target, expect=126), "hole", names[2], "wal status demo")
    backlog.fetch(names[2], target, "--standby", expect=1)
    stored.write(first.replace(names[0], names[1]), stored.read(first))
    assert_error(backlog.fetch(names[1], target, expect=126), "2 different contents")
    (damaged,) = backlog.segments()[names[3]]
    stored.rewrite(damaged, lambda data: data[:-100])
    backlog.fetch(names[3], target, expect=126)
    backlog.fetch(names[3], target, "--standby", expect=1)
    stored.write(backlog.segments()[names[4]][0], stored.read(first))
    assert_error(backlog.fetch(names[4], target, expect=126), "another SHA-256")
    assert_error(backlog.fetch("rubbish", target, expect=126), "no WAL file")
    assert not target.exists() and not list(target.parent.iterdir())
    shutil.rmtree(target.parent)


@pytest.mark.stores("s3")
def test_a_service_that_is_down_is_no_end_of_wal(backlog):
    """Neither does a push say that a segment is stored, nor a fetch that there is none."""
    names, service = backlog.ready, backlog.repository.service
    if not service.is_ours:
        pytest.skip("the other service is not ours to kill")
    backlog.policy["repository"]["s3"]["retry_for"] = "1s"
    backlog.write()
    backlog.push(names[0])
    stored, target = backlog.segments(), scratch() / "file"
    shutil.rmtree(backlog.state / "wal")
    service.script("kill-gateway")
    try:
        for name in (names[1], "00000002.history", f"{int(names[-1], 16) + 1:024X}"):
            assert_error(backlog.fetch(name, target, expect=126), "that the service runs")
            backlog.fetch(name, target, "--standby", expect=1)
        assert_error(backlog.push(names[1], expect=3), "that the service runs")
        backlog.run("push", "demo", f"pg_wal/{names[1]}", program="pgcairn-wal", expect=3)
    finally:
        service.script("start-gateway")
    assert not target.exists() and backlog.segments() == stored
    backlog.push(names[1])
    backlog.fetch(names[1], target)
    assert target.read_bytes() == (backlog.server.data / "pg_wal" / names[1]).read_bytes()
    shutil.rmtree(target.parent)


@pytest.mark.stores("file")
def test_a_wrong_call_of_fetch_stops_recovery(backlog):
    """Exit status 2 would tell the server that WAL ends here."""
    name = backlog.ready[0]
    backlog.run("wal", "fetch", "demo", name, expect=126)
    backlog.run("wal", "fetch", "elsewhere", name, "/tmp/x", expect=126)
    backlog.run("wal", "fetch", "elsewhere", name, "/tmp/x", "--standby", expect=1)
    backlog.run("wal", "fetch", "demo", name, "/tmp/x", "--sandby", expect=126)
    backlog.run("fetch", "elsewhere", name, "/tmp/x", program="pgcairn-wal", expect=126)
    backlog.policy["surprise"] = 1
    backlog.write()
    backlog.run("fetch", "demo", name, "/tmp/x", program="pgcairn-wal", expect=126)


def test_a_hole_stops_recovery_and_does_not_end_it(archiving, made):
    server = archiving.server
    server.psql("postgres", FILL)
    copy = made(archiving.copy())
    for _ in range(6):
        server.psql("postgres", FILL)
        archiving.switch()
    names = sorted(n for n in archiving.segments() if len(n) == 24)
    (hole,) = archiving.segments()[names[-3]]
    segment = archiving.repository.read(hole)
    archiving.repository.delete(hole)
    with pytest.raises(RuntimeError):
        archiving.recover(copy)
    log = copy.log.read_text()
    assert "a hole" in log and "selected new timeline" not in log
    archiving.repository.write(hole, segment)
    copy.start()
    copy.wait_for("select not pg_is_in_recovery()")
    assert total(copy) == total(server)


@pytest.mark.stores("file")
def test_a_repository_that_is_away(archiving, made):
    server = archiving.server
    server.psql("postgres", FILL)
    copy = made(archiving.copy())
    archiving.switch()
    folder, away = archiving.repository.path, archiving.root / "away"
    folder.rename(away)
    with pytest.raises(RuntimeError):
        archiving.recover(copy)
    assert "holds no WAL of cluster" in copy.log.read_text()
    away.rename(folder)
    copy.start()
    copy.wait_for("select not pg_is_in_recovery()")
    assert total(copy) == total(server)


@pytest.mark.stores("file")
def test_a_standby_waits_for_what_is_missing(archiving, made):
    server = archiving.server
    server.psql("postgres", FILL)
    copy = made(archiving.copy())
    archiving.recover(copy, standby=True, hot_standby="on", wal_retrieve_retry_interval="200ms")
    folder, away = archiving.repository.path, archiving.root / "away"
    folder.rename(away)
    time.sleep(1)
    away.rename(folder)
    server.psql("postgres", "create table late as select 1 as a")
    archiving.switch()
    copy.wait_for("select to_regclass('late') is not null")
    assert copy.psql("postgres", "select pg_is_in_recovery()") == "t"


def test_promotion_and_the_second_timeline(archiving, made):
    server = archiving.server
    server.psql("postgres", FILL)
    copy, third = made(archiving.copy()), made(archiving.copy("third"))
    archiving.recover(copy, standby=True, hot_standby="on")
    server.psql("postgres", FILL)
    archiving.switch()
    copy.wait_for("select sum(1) = 10000 from t")
    server.halt()
    copy.configure(**{**archiving.settings(), "archive_mode": "on"})
    copy.halt()
    copy.start()
    copy.psql("postgres", "select pg_promote()")
    copy.psql("postgres", FILL)
    archiving.server = copy
    archiving.switch()
    names = archiving.segments()
    assert "00000002.history" in names and any(n.startswith("00000002") and len(n) == 24 for n in names)
    archiving.recover(third)
    third.wait_for("select not pg_is_in_recovery()")
    assert total(third) == total(copy)
    assert third.psql("postgres", "select timeline_id from pg_control_checkpoint()") == "3"


@pytest.mark.parametrize("megabytes", [1, 64])
def test_other_segment_sizes(made, megabytes):
    server = made(Server("sizes", initdb=[f"--wal-segsize={megabytes}"]))
    archive = Archive(server)
    server.configure(**archive.settings(min_wal_size="128MB", max_wal_size="512MB"))
    server.start()
    server.psql("postgres", FILL)
    copy = made(archive.copy())
    for _ in range(5):
        server.psql("postgres", FILL)
        archive.switch()
    assert len(archive.plain(archive.switch())) == megabytes << 20
    archive.recover(copy)
    copy.wait_for("select not pg_is_in_recovery()")
    assert total(copy) == total(server)


def test_the_helper_is_killed_again_and_again(archiving, made):
    """What it was in the middle of is not served."""
    server = archiving.server
    server.psql("postgres", FILL)
    copy = made(archiving.copy())
    for _ in range(10):
        server.psql("postgres", FILL + "; select pg_switch_wal()")
    archiving.switch()
    killer = Killer(archiving, "ahead", random.Random(5))
    killer.start()
    archiving.recover(copy)
    copy.wait_for("select not pg_is_in_recovery()")
    killer.stop()
    assert killer.killed > 0
    assert total(copy) == total(server)


def crash(server):
    """kill -9 of the postmaster, then the next start, as soon as the dead one's children let it."""
    server.process.kill()
    server.process.wait()

    def started():
        try:
            return server.start()
        except RuntimeError:
            return None
    wait_until(started, 30, "the crashed server starts again")


class Killer(threading.Thread):
    """kill -9 of a pgcairn of the archive that runs a command, again and again at random moments."""

    def __init__(self, archive, command, rounds):
        super().__init__(daemon=True)
        self.archive, self.command, self.rounds = archive, command, rounds
        self.killed, self.over = 0, False

    def run(self):
        while not self.over:
            time.sleep(self.rounds.uniform(0.02, 0.2))
            self.killed += self.archive.kill_one(self.command)

    def stop(self):
        self.over = True
        self.join()


@pytest.mark.slow
@pytest.mark.stores("file")  # the server makes WAL faster than a bucket takes it, killed so often
def test_kill_and_crash_at_random_moments(archiving, made):
    """kill -9 of push while it works, and of the whole server: nothing is lost, nothing is doubled."""
    server = archiving.server
    server.program("pgbench", "-i", "-q", "-s", "2")
    copy = made(archiving.copy())
    killer = Killer(archiving, "push", random.Random(4))
    killer.start()
    number = 0
    while killer.killed < 3:
        number += 1
        assert number < 1000, f"only {killer.killed} were killed"
        server.psql("postgres", FILL + f"; insert into t values ({number}, 'round'); select pg_switch_wal()")
        if number % 40 == 20:
            crash(server)
    killer.stop()
    archiving.switch(seconds=240)  # the server starts a killed archiver again after a while only
    assert all(len(objects) == 1 for objects in archiving.segments().values())
    archiving.recover(copy)
    copy.wait_for("select not pg_is_in_recovery()", seconds=120)
    assert total(copy) == total(server)

