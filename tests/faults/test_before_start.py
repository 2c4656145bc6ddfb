"""What is wrong before anything begins: found, told in one line with a cure, nothing written."""
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cairn import BINARY, CLUSTER, assert_error, check_run, Run
from pg import BINDIR, PASSWORD, Server, as_user, clean_environment, die_with_parent, end_process, free_port, own, wait_until

# What is found before anything begins is found before the repository is asked.
pytestmark = pytest.mark.stores("file")

TABLE = "create table t as select generate_series(1, 10) v"


def assert_nothing_made(ws):
    """No new good backup, and no manifest of any."""
    assert ws.good_backups() == []
    assert not ws.repository.find("manifest.json")


def fails(ws, status, *words, command=("run", "demo/nightly")):
    run = ws.run(*command, expect=status)
    assert_error(run, *words)
    assert_nothing_made(ws)
    return run


@pytest.fixture
def small(database):
    return database("small", TABLE)


def test_wrong_password(server, small, workspace):
    url = f"postgresql://postgres:wrong-horse@127.0.0.1:{server.port}/small"
    run = fails(workspace([small], connection=url), 3, "password authentication failed", "policy")
    assert "wrong-horse" not in run.out + run.err


def test_server_down(workspace):
    fails(workspace(["small"], connection=f"postgresql://postgres@127.0.0.1:{free_port()}/small"), 3, "refused")


def test_host_that_does_not_exist(workspace):
    fails(workspace(["small"], connection="postgresql://postgres@no-such-host.invalid/small"), 3, "no-such-host.invalid")


def test_database_missing(workspace, server):
    ws = workspace(["no_such_db"], connection=server.url("postgres"))
    fails(ws, (1, 2), "no_such_db", "databases")


def test_database_of_the_connection_missing(workspace, server):
    fails(workspace([], connection=server.url("no_such_db")), (1, 2), "no_such_db", "does not exist")


def test_too_many_connections(workspace):
    """Every slot is taken; and the ones kept for superusers are not ours."""
    crowded = Server("crowded", {"max_connections": 8, "superuser_reserved_connections": 2, "max_wal_senders": 0})
    sessions = []
    try:
        crowded.start()
        crowded.psql("postgres", "create role app login; create role backup login in role pg_read_all_data")
        crowded.createdb("small")
        crowded.psql("small", TABLE)
        sessions = [crowded.session("small", "app") for _ in range(6)]
        for session in sessions:
            session.backend_pid()
        ws = workspace(["small"], server=crowded, connection=crowded.url("small", "backup"))
        fails(ws, 3, "connection", "max_connections")
        for session in sessions[:1]:
            session.close()
        # One slot is free: enough to look, not enough for the workers.
        fails(ws, (1, 3), "connection")
        for session in sessions:
            session.close()
        crowded.wait_for("select count(*) = 0 from pg_stat_activity where usename = 'app'")
        assert ws.dump()
    finally:
        for session in sessions:
            session.close()
        crowded.stop()


def fake_bindir(folder, version):
    """PostgreSQL's programs as an old installation has them: the real ones, but for their version."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "pg_dumpall", "psql", "postgres"):
        program = folder / name
        program.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && {{ echo '{name} (PostgreSQL) {version}'; exit 0; }}\n"
                           f"echo 'aborting because of server version mismatch' >&2\nexit 1\n")
        program.chmod(0o755)
    return folder


def test_pg_dump_older_than_the_server(small, workspace, tmp_path):
    ws = workspace([small], postgres={"bindir": str(fake_bindir(tmp_path / "old", "12.22"))})
    fails(ws, (1, 2), "pg_dump", "12", "15")


def test_no_pg_dump_there(small, workspace, tmp_path):
    (tmp_path / "empty").mkdir()
    ws = workspace([small], postgres={"bindir": str(tmp_path / "empty")})
    fails(ws, (1, 2), "pg_dump", str(tmp_path / "empty"))


def test_no_privilege_on_one_table(server, small, workspace):
    server.psql("postgres", "create role reader login")
    try:
        server.psql(small, "grant select on all tables in schema public to reader; create table \"Private\" as select 1 as v")
        ws = workspace([small], connection=server.url(small, "reader"))
        fails(ws, 1, "Private", "may not read", "grant")
        server.psql(small, "grant select on \"Private\" to reader")
        assert ws.dump()
    finally:
        server.dropdb(small)
        server.psql("postgres", "drop role reader")


@pytest.mark.parametrize("force", [False, True])
def test_row_security_hides_no_rows(server, small, workspace, force):
    """A reader that policies apply to would copy some of the rows and no error: refused instead."""
    server.psql("postgres", "create role reader login in role pg_read_all_data")
    try:
        server.psql(small, f"""create table "Tenants" as select i as id from generate_series(1, 10) i;
            alter table "Tenants" enable row level security; create policy few on "Tenants" using (id < 3);
            {'alter table "Tenants" owner to reader; alter table "Tenants" force row level security' if force else ''}""")
        fails(workspace([small], connection=server.url(small, "reader")), 1, "Tenants", "row")
    finally:
        server.dropdb(small)
        server.psql("postgres", "drop role reader")


@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_a_pooler_in_between(server, small, workspace, mode):
    """A real PgBouncer. What it shares between clients a dump must have for itself."""
    port = free_port()
    folder = server.root / f"pooler-{mode}"
    folder.mkdir()
    (folder / "users.txt").write_text(f'"postgres" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = 20
""")
    user = server.user
    for path in (folder, *folder.iterdir()):
        own(path, user)
    with open(folder / "log", "wb") as log:
        pooler = subprocess.Popen(["/usr/sbin/pgbouncer", folder / "pgbouncer.ini"], stdout=log, stderr=log,
                                  env=clean_environment(), cwd="/", preexec_fn=die_with_parent, **as_user(user))
    try:
        def answers():
            assert pooler.poll() is None, (folder / "log").read_text()
            return subprocess.run([BINDIR / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False).returncode == 0
        wait_until(answers, 20, "PgBouncer")
        ws = workspace([small], connection=f"postgresql://postgres@127.0.0.1:{port}/{small}")
        if mode == "session" and ws.run("run", "demo/nightly", expect=None).rc == 0:
            assert len(ws.good_backups()) == 1  # a session of its own: as good as a direct one
        else:
            fails(ws, (1, 2), "pool", "direct")
    finally:
        end_process(pooler)


def as_nobody(ws, *arguments):
    """Runs pgcairn as a user without rights, also where the tests run as root."""
    entry = pwd.getpwnam("nobody")
    program = ws.folder / "pgcairn"
    shutil.copy(BINARY, program)
    program.chmod(0o755)
    ids = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    for path in (ws.state, ws.policy_file):
        if ids:
            os.chown(path, entry.pw_uid, entry.pw_gid)
    done = subprocess.run([program, *map(str, ws.arguments(arguments))], env=clean_environment(**ws.environment()),
                          capture_output=True, text=True, check=False, timeout=120, cwd="/", **ids)
    run = Run(done.args, done.returncode, done.stdout, done.stderr)
    check_run(run, None)
    return run


def reachable_by_all(path):
    """pytest's folders are the caller's own; another user must be able to walk to ours."""
    for folder in [path, *path.parents]:
        if folder.stat().st_uid != os.geteuid() or folder == Path("/tmp"):
            break
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH | stat.S_IXGRP)


def test_repository_not_writable(small, workspace):
    ws = workspace([small])
    reachable_by_all(ws.folder)
    ws.repository.path.mkdir()
    ws.repository.path.chmod(0o555)
    run = as_nobody(ws, "run", "demo/nightly")
    assert run.rc == 1, run
    assert_error(run, "permission denied", str(ws.repository.path))
    check = as_nobody(ws, "check", "demo")
    assert check.rc in (1, 3) and "repository" in check.out, check
    assert list(ws.repository.path.iterdir()) == []


def test_repository_is_a_file(small, workspace):
    ws = workspace([small])
    ws.repository.path.write_text("in the way")
    assert_error(ws.run("run", "demo/nightly", expect=(1, 3)), str(ws.repository.path))
    assert ws.repository.path.read_text() == "in the way"


def test_state_folder_not_writable(small, workspace):
    """The journal is a record, not a condition: a backup is made without it."""
    ws = workspace([small])
    reachable_by_all(ws.folder)
    ws.repository.path.mkdir()
    ws.repository.path.chmod(0o777)
    ws.state.chmod(0o555)
    run = ws.run("run", "demo/nightly", env={"STATE_DIRECTORY": "/proc/no/such/place"})
    assert "not recorded" in run.err
    assert len(ws.good_backups()) == 1


def test_a_foreign_server(small, workspace):
    """The same policy pointed at another server must not mix its backups with the first one's."""
    ws = workspace([small])
    ws.dump()
    other = Server("foreign")
    try:
        other.start()
        other.createdb("small")
        other.psql("small", TABLE)
        ws.policy["postgres"]["connection"] = other.url("small")
        ws.write()
        assert_error(ws.run("run", "demo/nightly", expect=1), "cluster adopt")
        assert len(ws.good_backups()) == 1
        ws.run("cluster", "adopt", CLUSTER)
        ws.dump()
        assert len(ws.good_backups()) == 2
    finally:
        other.stop()


TEN_MISTAKES = """\
cluster: Shop_1
timezone: Europe/Berlinn
postgres:
  connection: ${DATABASE_URL_THAT_IS_NOT_SET}
  max_conections: 8
repository:
  url: ftp://somewhere/else
defaults: {timeout: soon, retries: many}
jobs:
  nightly: {type: dmup, schedule: "0 2 * * *"}
  never:   {type: dump, schedule: "0 0 30 2 *", keep: {within: 30d}}
  wrong:   {type: dump, schedule: "61 2 * * *", keep: {within: 30 days}}
  seconds: {type: dump, schedule: "0 0 2 * * *"}
"""
PLACES = [
    # line, words of the message
    (1, "Shop_1"), (2, "Europe/Berlin"), (4, "DATABASE_URL_THAT_IS_NOT_SET"), (5, "max_connections"), (7, "ftp://"),
    (8, "soon"), (8, "many"), (10, "dump"), (11, "0 0 30 2 *"), (12, "61"), (12, "30 days"), (13, "seconds"),
]


def test_a_policy_with_ten_mistakes(tmp_path):
    """All at once, each with file, line, column, and the nearest right word."""
    from cairn import run_pgcairn
    policy = tmp_path / "policy.yaml"
    policy.write_text(TEN_MISTAKES)
    policy.chmod(0o600)
    run = run_pgcairn("policy", "check", policy, expect=2)
    text = run.out + run.err
    for line, word in PLACES:
        at = [m for m in text.splitlines() if f"{policy}:{line}:" in m]
        assert any(word in m for m in at), f"line {line} does not say {word!r}:\n{run}"
        assert all(m.split(f"{policy}:{line}:")[1].split(":")[0].isdigit() for m in at), f"no column:\n{run}"
    errors = run_pgcairn("--json", "policy", "check", policy, expect=2).json["policies"][0]["errors"]
    assert len(errors) >= 10 and all(e["line"] and e["column"] and e["message"] for e in errors)
    # And nothing runs by such a policy.
    assert run_pgcairn("-c", policy, "run", "Shop_1/nightly", expect=2).err


@pytest.mark.parametrize("text, word", [
    ("", "empty"), ("- a\n- b\n", "map"), ("cluster: [", ""), ("cluster: a\ncluster: b\n", "cluster"), ("\x00\x01", ""),
    ("cluster: &a a\ntimezone: *a\n", ""), ("x: " * 5000, ""),
])
def test_what_is_no_policy(tmp_path, text, word):
    from cairn import run_pgcairn
    policy = tmp_path / "policy.yaml"
    policy.write_text(text)
    run = run_pgcairn("policy", "check", policy, expect=2)
    assert str(policy) in run.out + run.err and word in run.out + run.err


def test_no_policy_at_all(tmp_path):
    from cairn import run_pgcairn
    run = run_pgcairn("-c", tmp_path / "nowhere.yaml", "list", expect=2)
    assert_error(run, "nowhere.yaml")


@pytest.mark.parametrize("job, word", [
    ({"type": "prune", "schedule": "0 7 * * *", "hooks": {"before": "pause --now"}}, "no shell splits a text"),
    ({"type": "prune", "schedule": "0 7 * * *", "after": "nightly"}, "after"),
])
def test_what_cannot_be_done_is_refused(workspace, app, job, word):
    """Not ignored: who writes such a job counts on it."""
    ws = workspace(["app"], jobs={"extra": job})
    run = ws.run("policy", "check", expect=2)
    assert word in run.out + run.err
