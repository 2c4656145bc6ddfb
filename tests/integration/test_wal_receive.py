"""WAL received through a replication slot: every byte the server's own, nothing acknowledged that is not safe."""
import copy
import os
import random
import signal
import subprocess
import threading
import time

import pytest
from archive import Archive, hex_name
from cairn import assert_error, zstd_plain
from load import Load
from pg import BINDIR, Server, as_user, clean_environment, die_with_parent, end_process, wait_until
from receiver import JOBS, SLOT, Receiver

FILL = "create table if not exists t (a int, b text); insert into t select g, md5(g::text) from generate_series(1, 5000) g"
CONFIG = {"wal_level": "replica", "max_wal_senders": 5, "max_wal_size": "128MB", "checkpoint_timeout": "30s"}


@pytest.fixture
def made():
    """Servers that are stopped after the test."""
    servers = []

    def keep(server):
        servers.append(server)
        return server

    yield keep
    for server in reversed(servers):
        server.stop()


@pytest.fixture
def archive(made):
    """A server to receive from. What it archives by itself is the measure of what we receive."""
    server = made(Server("receive", config={**CONFIG, "archive_mode": "on"}))
    found = Archive(server, jobs=copy.deepcopy(JOBS))
    own_copy(server)
    return start(found)


def own_copy(server):
    folder = server.socket_dir / "own"  # the server's user may write there
    server.configure(archive_command=f"mkdir -p {folder} && cp %p {folder}/%f")
    server.own = folder


def start(found):
    found.server.start()
    found.server.psql("postgres", FILL)
    return found


def fill(server, count=1):
    for _ in range(count):
        server.psql("postgres", FILL + "; select pg_switch_wal()")


def assert_equal_to_own(archive, server=None, first=None, seconds=30):
    """Every stored segment is byte for byte what the server archived, and none is missing between."""
    server = server or archive.server
    stored = archive.segments()
    names = sorted(n for n in stored if len(n) == 24 and (not first or n >= first))
    assert names and all(len(objects) == 1 for objects in stored.values())
    for name in names:
        own = server.own / name
        wait_until(own.exists, seconds, f"the server archived {name}")
        assert archive.plain(name) == own.read_bytes(), name
    numbers = [int(n[8:16], 16) * 256 + int(n[16:], 16) for n in names]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return names


def test_what_is_received_under_load_is_the_servers_own(archive):
    server = archive.server
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        with Load(server).fill():
            for _ in range(8):
                time.sleep(0.3)
                receiver.finish_segment()
        receiver.wait_safe()
        names = assert_equal_to_own(archive)
        assert len(names) >= 8 and receiver.spool() == []
        receiver.stop()


def test_in_a_folder_and_in_a_bucket(made, store):
    """One receiver end to end in each kind of store, a kill included."""
    server = made(Server("receive", config={**CONFIG, "archive_mode": "on"}))
    archive = Archive(server, jobs=copy.deepcopy(JOBS), store=store)
    own_copy(server)
    start(archive)
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        fill(server, 3)
        receiver.kill()
        fill(server, 2)
        receiver.start().wait_streaming().wait_safe()
        assert_equal_to_own(archive)
        receiver.stop()


def test_a_clean_stop_acknowledges_what_is_stored(archive):
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        fill(archive.server, 3)
        name = receiver.finish_segment()
        receiver.stop()
        row = receiver.slot()
        acknowledged = archive.server.psql("postgres", f"select pg_walfile_name('{row['restart_lsn']}'::pg_lsn + 1)")
        stored = archive.segments()
        assert all(n in stored for n in assert_equal_to_own(archive)) and acknowledged <= f"{int(name, 16) + 1:024X}"
        receiver.start().wait_streaming().wait_safe()
        assert_equal_to_own(archive)


@pytest.mark.slow
@pytest.mark.parametrize("acknowledge", ["stored", "spooled"])
def test_kill_at_random_moments(archive, acknowledge):
    """kill -9 of the receiver, again and again under load: nothing is lost, nothing is stored twice."""
    chance = random.Random(7)
    server = archive.server
    with Receiver(archive, "--acknowledge", acknowledge) as receiver, Load(server).fill():
        for number in range(50):
            time.sleep(chance.uniform(0.02, 0.5))
            if number % 3 == 0:
                receiver.finish_segment()
            receiver.kill()
            receiver.start()
        receiver.wait_streaming()
        receiver.wait_safe(120)
        names = assert_equal_to_own(archive)
        assert len(names) > 15
        receiver.stop()


def test_server_restart_and_crash(archive):
    server = archive.server
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        fill(server, 2)
        started = time.monotonic()
        server.halt()
        assert time.monotonic() - started < 15, "the receiver held up the server's shutdown"
        server.start()
        receiver.wait_streaming()
        fill(server, 2)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: _starts(server), 30, "the crashed server starts again")
        receiver.wait_streaming()
        fill(server, 2)
        receiver.wait_safe()
        assert_equal_to_own(archive)
        receiver.stop()


def _starts(server):
    try:
        return server.start()
    except RuntimeError:
        return None


def _end_of(segment):
    """Where a segment of 16 MB ends, as the server writes positions."""
    end = (int(segment[8:16], 16) << 32) + ((int(segment[16:], 16) + 1) << 24)
    return f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"


def test_store_away_nothing_is_acknowledged(archive):
    server = archive.server
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        fill(server, 2)
        receiver.wait_safe()
        before = _end_of(max(n for n in archive.segments() if len(n) == 24))
        wait_until(lambda: receiver.slot()["restart_lsn"] == before, 30, "what is stored is acknowledged")
        archive.hide()
        fill(server, 14)  # more than may wait
        time.sleep(3)
        assert receiver.running() and receiver.slot()["restart_lsn"] == before
        sent = server.json("postgres", "select flush_lsn::text as f, replay_lsn::text as r, write_lsn::text as w from pg_stat_replication")
        assert [set(row.values()) for row in sent] == [{before}]
        assert "is not stored yet" in receiver.err
        assert 0 < len([n for n in receiver.spool() if len(n) == 24]) <= 9
        archive.show()
        receiver.wait_safe()
        assert_equal_to_own(archive)
        assert "takes WAL again" in receiver.err
        receiver.stop()


def test_wal_sender_timeout_is_kept_while_the_store_is_away(archive):
    server = archive.server
    server.psql("postgres", "alter system set wal_sender_timeout = '2s'")
    server.psql("postgres", "select pg_reload_conf()")
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        pid = server.value("postgres", "select pid from pg_stat_replication")
        archive.hide()
        fill(server, 14)
        time.sleep(6)
        assert server.value("postgres", "select pid from pg_stat_replication") == pid, receiver.err
        archive.show()
        receiver.wait_safe()
        receiver.stop()


def test_acknowledge_what_is_in_the_spool(archive):
    """With acknowledge: spooled the slot moves while the store is away, and a kill loses nothing of it."""
    server = archive.server
    archive.policy["jobs"]["wal"]["acknowledge"] = "spooled"
    archive.write()
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        receiver.wait_safe()
        archive.hide()
        fill(server, 12)
        wait_until(lambda: receiver.slot()["lag"] < 32 << 20, 30, "the spool is acknowledged")
        wait_until(lambda: len([n for n in receiver.spool() if len(n) == 24]) >= 12, 30, "all of it is in the spool")
        receiver.kill()
        archive.show()
        server.psql("postgres", "checkpoint")  # what was acknowledged is gone from the server
        receiver.start().wait_streaming().wait_safe()
        assert_equal_to_own(archive)
        assert receiver.spool() == [] and "is lost" not in receiver.err
        receiver.stop()


def test_promotion_of_the_standby_we_receive_from(archive, made):
    server = archive.server
    standby = made(Server("standby", origin=server, config={"primary_conninfo": server.url().replace("postgresql:///postgres?", "postgresql:///?"), "archive_mode": "on"}))
    own_copy(standby)
    (standby.data / "standby.signal").touch()
    fill(server)
    standby.configure(hot_standby="on", restore_command=f"cp {server.own}/%f %p")
    standby.start()
    archive.policy["postgres"]["connection"] = standby.url()
    archive.write()
    with Receiver(archive, server=standby) as receiver:
        receiver.wait_streaming()
        fill(server, 3)
        server.psql("postgres", FILL)
        at = server.value("postgres", "select pg_current_wal_lsn()")
        standby.wait_for(f"select pg_last_wal_replay_lsn() >= '{at}'")
        standby.psql("postgres", "select pg_promote()")
        fill(standby, 3)
        receiver.wait_safe()
        stored = archive.segments()
        assert "00000002.history" in stored
        assert archive.plain("00000002.history") == (standby.data / "pg_wal/00000002.history").read_bytes()
        # The end of timeline 1 lies in the first segment of timeline 2 as well; who was cut off in that moment
        # goes on there, and has no partial one.
        high, low = archive.plain("00000002.history").split()[1].decode().split("/")
        begun = hex_name(1, (int(high, 16) << 32 | int(low, 16)) // (16 << 20))[8:]
        partial = [n for n in stored if n.endswith(".partial")]
        assert partial in ([], [f"00000001{begun}.partial"])
        assert all(len(archive.plain(n)) == 16 << 20 for n in partial)
        for name in sorted(n for n in stored if n.startswith("00000002") and len(n) == 24):
            own = standby.own / name
            wait_until(own.exists, 30, f"the standby archived {name}")
            assert archive.plain(name) == own.read_bytes() and name[8:] >= begun
        receiver.stop()
    # From the primary as well nothing changes: what is stored of timeline 1 is whole up to the switch.
    ones = sorted(n[8:] for n in stored if n.startswith("00000001") and len(n) == 24)
    twos = sorted(n[8:] for n in stored if n.startswith("00000002") and len(n) == 24)
    numbers = [int(n[:8], 16) * 256 + int(n[8:], 16) for n in ones + twos]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_killed_receiver_follows_a_switch_it_did_not_see(archive, made):
    server = archive.server
    standby = made(Server("standby", origin=server, config={"primary_conninfo": server.url().replace("postgresql:///postgres?", "postgresql:///?")}))
    (standby.data / "standby.signal").touch()
    standby.configure(hot_standby="on", restore_command=f"cp {server.own}/%f %p", archive_mode="off")
    fill(server)
    standby.start()
    archive.policy["postgres"]["connection"] = standby.url()
    archive.write()
    with Receiver(archive, server=standby) as receiver:
        receiver.wait_streaming()
        fill(server, 2)
        server.psql("postgres", FILL)
        at = server.value("postgres", "select pg_current_wal_lsn()")
        standby.wait_for(f"select pg_last_wal_replay_lsn() >= '{at}'")
        receiver.kill()
        standby.psql("postgres", "select pg_promote()")
        fill(standby, 2)
        receiver.start().wait_streaming().wait_safe()
        stored = archive.segments()
        assert "00000002.history" in stored and any(n.startswith("00000002") and len(n) == 24 for n in stored)
        receiver.stop()


def test_a_standby_that_is_behind(archive, made):
    """It does not yet have what is stored: that is said, and it is received from once it has caught up."""
    server = archive.server
    shown = server.socket_dir / "shown"
    shown.mkdir()
    standby = made(Server("standby", origin=server, config={"archive_mode": "off", "hot_standby": "on"}))
    name = Receiver(archive).finish_segment()
    with Receiver(archive, create=False) as receiver:
        receiver.wait_streaming()
        fill(server, 4)
        receiver.wait_safe()
        receiver.stop()
    wait_until((server.own / name).exists, 30, "the server archived the first segment")
    for file in server.own.iterdir():
        if file.name[:24] <= name:
            os.link(file, shown / file.name)
    standby.configure(restore_command=f"cp {shown}/%f %p", wal_retrieve_retry_interval="200ms")
    (standby.data / "standby.signal").touch()
    standby.start()
    archive.policy["postgres"]["connection"] = standby.url()
    archive.write()
    before = archive.segments()
    with Receiver(archive, server=standby) as receiver:
        wait_until(lambda: receiver.running() and "tries again: WAL is stored up to" in receiver.err, 30, "it says so")
        assert not receiver.slot()["active"]
        for file in server.own.iterdir():
            if not (shown / file.name).exists():
                os.link(file, shown / file.name)
        receiver.wait_streaming(60)
        receiver.stop()
    assert {name: archive.segments()[name] for name in before} == before


# -- what is refused -----------------------------------------------------------------------------


def test_a_missing_slot_names_the_command(archive):
    run = archive.run("wal", "receive", "demo", expect=1)
    assert_error(run, f'no replication slot "{SLOT}"', "pgcairn wal receive demo --create-slot")


def test_slot_commands(archive):
    made_run = archive.run("wal", "receive", "demo", "--create-slot")
    assert SLOT in made_run.err
    assert "there already" in archive.run("wal", "receive", "demo", "--create-slot").err
    archive.run("wal", "receive", "demo", "--drop-slot")
    assert_error(archive.run("wal", "receive", "demo", "--drop-slot", expect=1), "does not exist")
    archive.run("wal", "receive", "demo", "--create-slot", "--slot", "other_1")
    assert archive.server.value("postgres", "select slot_name from pg_replication_slots") == "other_1"
    for words in (["--slot", "No-Good"], ["--acknowledge", "soon"], ["--create-slot", "--drop-slot"]):
        assert archive.run("wal", "receive", "demo", *words, expect=2).err


def test_a_second_receiver_is_busy(archive):
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        assert_error(archive.run("wal", "receive", "demo", expect=4), "receive")
        assert_error(archive.run("wal", "receive", "demo", "--drop-slot", expect=4), "is active", "end that first")
        # On another machine, with a state folder of its own, the lock in the repository tells.
        archive.state = archive.root / "state2"
        archive.state.mkdir(mode=0o777)
        os.chmod(archive.state, 0o777)
        assert_error(archive.run("wal", "receive", "demo", expect=4), "runs already")
        receiver.stop()


def test_another_receiver_has_the_slot(archive):
    receiver = Receiver(archive)
    folder = archive.root / "other"
    folder.mkdir(mode=0o777)
    other = subprocess.Popen([BINDIR / "pg_receivewal", "-D", folder, "-S", SLOT], env=archive.server.environment(),
                             stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: receiver.slot()["active"], 20, "pg_receivewal runs")
        assert_error(archive.run("wal", "receive", "demo", expect=4), "is active for PID", "another receiver")
    finally:
        end_process(other, signal.SIGINT)


def test_slot_dropped_behind_our_back(archive):
    server = archive.server
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        fill(server, 2)
        receiver.wait_safe()
        server.psql("postgres", "select pg_terminate_backend(active_pid) from pg_replication_slots")
        wait_until(lambda: _dropped(server), 20, "the slot is dropped")
        receiver.wait(1, 60)
        assert f'replication slot "{SLOT}"' in receiver.err and "--create-slot" in receiver.err
        # What is removed meanwhile is lost, and told; behind it WAL is received again.
        fill(server, 12)
        server.psql("postgres", "checkpoint")
        archive.run("wal", "receive", "demo", "--create-slot")
        receiver.start().wait_streaming().wait_safe()
        assert "is lost" in receiver.err and "take a snapshot" in receiver.err, receiver.err
        receiver.stop()


def _dropped(server):
    try:
        server.psql("postgres", f"select pg_drop_replication_slot('{SLOT}')")
        return True
    except AssertionError:
        server.psql("postgres", "select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        return False


def test_a_slot_that_has_lost_wal(archive):
    server = archive.server
    Receiver(archive)
    server.psql("postgres", "alter system set max_slot_wal_keep_size = '1MB'")
    server.psql("postgres", "alter system set max_wal_size = '32MB'")
    server.psql("postgres", "select pg_reload_conf()")
    fill(server, 12)
    server.psql("postgres", "checkpoint")
    server.wait_for(f"select wal_status = 'lost' from pg_replication_slots where slot_name = '{SLOT}'")
    assert_error(archive.run("wal", "receive", "demo", expect=1), "has lost WAL", "--drop-slot", "--create-slot",
                 "take a snapshot", "max_slot_wal_keep_size")


def test_a_foreign_server(archive, made):
    fill(archive.server)
    with Receiver(archive) as receiver:
        receiver.wait_streaming().wait_safe()
        receiver.stop()
    other = made(Server("foreign", config=CONFIG))
    other.start()
    archive.policy["postgres"]["connection"] = other.url()
    archive.write()
    archive.run("wal", "receive", "demo", "--create-slot")
    before = archive.segments()
    assert_error(archive.run("wal", "receive", "demo", expect=1), "system identifier", "cluster adopt demo")
    assert archive.segments() == before


def test_what_an_earlier_server_left_is_stored(archive, made):
    """Acknowledged, in the spool only, and then the server was rebuilt: adoption does not forget it."""
    server = archive.server
    archive.policy["jobs"]["wal"]["acknowledge"] = "spooled"
    archive.write()
    with Receiver(archive) as receiver:
        receiver.wait_streaming().wait_safe()
        archive.hide()
        fill(server, 4)
        wait_until(lambda: len(receiver.spool()) >= 4, 30, "all is in the spool")
        receiver.kill()
        left = [n for n in receiver.spool() if len(n) == 24]
    archive.show()
    system = server.value("postgres", "select system_identifier from pg_control_system()")
    server.halt()
    rebuilt = made(Server("rebuilt", config={**CONFIG, "archive_mode": "on"}))
    own_copy(rebuilt)
    rebuilt.start()
    archive.policy["postgres"]["connection"] = rebuilt.url()
    archive.write()
    receiver = Receiver(archive, server=rebuilt)
    assert_error(archive.run("wal", "receive", "demo", expect=1), "cluster adopt demo")
    assert set(left) <= set(receiver.spool())
    archive.run("cluster", "adopt", "demo", "--reason", "a test rebuilt it")
    with receiver:
        receiver.wait_streaming().wait_safe()
        receiver.stop()
    assert receiver.spool() == [] and system in receiver.err
    stored = {k.rsplit("/", 1)[-1][:24]: k for k in archive.repository.keys(f"demo/wal/{system}/") if k.endswith(".zst")}
    for name in left:
        assert zstd_plain(archive.repository.read(stored[name])) == (server.own / name).read_bytes(), name
    (mine,) = [s for s in {k.split("/")[2] for k in archive.repository.keys("demo/wal/")} if s != system]
    assert mine == rebuilt.value("postgres", "select system_identifier from pg_control_system()")


def test_roles_and_settings(archive, made):
    server = archive.server
    Receiver(archive)
    server.psql("postgres", "create role clerk login")
    archive.policy["jobs"]["wal"]["connection"] = server.url(user="clerk")
    archive.write()
    assert_error(archive.run("wal", "receive", "demo", expect=1), "alter role", "replication")
    server.psql("postgres", "alter role clerk replication")
    hba = server.data / "pg_hba.conf"
    hba.write_text("local all all trust\nlocal replication postgres trust\n")
    server.psql("postgres", "select pg_reload_conf()")
    time.sleep(0.5)
    assert_error(archive.run("wal", "receive", "demo", expect=3), "pg_hba.conf", "local replication clerk")
    small = made(Server("small", config={"wal_level": "minimal", "max_wal_senders": 0}))
    small.start()
    archive.policy["jobs"]["wal"]["connection"] = small.url()
    archive.write()
    for words in ([], ["--create-slot"]):
        assert_error(archive.run("wal", "receive", "demo", *words, expect=1), "wal_level", "replica", "restart")


@pytest.mark.parametrize("megabytes", [1, 64])
def test_other_segment_sizes(made, megabytes):
    server = made(Server("sizes", initdb=[f"--wal-segsize={megabytes}"],
                         config={**CONFIG, "archive_mode": "on", "min_wal_size": "128MB", "max_wal_size": "512MB"}))
    archive = Archive(server, jobs=copy.deepcopy(JOBS))
    own_copy(server)
    start(archive)
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        fill(server, 4)
        receiver.wait_stored(receiver.finish_segment())
        for name in (n for n in archive.segments() if len(n) == 24):
            wait_until((server.own / name).exists, 30, f"the server archived {name}")
            assert archive.plain(name) == (server.own / name).read_bytes()
            assert len(archive.plain(name)) == megabytes << 20
        receiver.stop()


# -- the daemon, the hourly job, what people see -------------------------------------------------


def daemon(archive):
    log = open(archive.root / "daemon.err", "wb")
    return subprocess.Popen([archive.bin / "pgcairn", "-c", archive.policy_file, "daemon"], stderr=log, cwd="/",
                            env=clean_environment(**archive.environment()), preexec_fn=die_with_parent,
                            **as_user(archive.user))


def test_the_daemon_keeps_it_running(archive):
    server = archive.server
    receiver = Receiver(archive)
    process = daemon(archive)

    def active():
        assert process.poll() is None, (archive.root / "daemon.err").read_text()
        return receiver.slot()["active"]

    def other_active(before):
        pid = server.value("postgres", "select active_pid from pg_replication_slots")
        return pid and pid != before

    try:
        wait_until(active, 30, "the daemon receives")
        before = server.value("postgres", "select active_pid from pg_replication_slots")
        (child,) = [p for p in archive.own_processes() if p != process.pid]
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: other_active(before), 40, "it is started again")
        # A changed policy begins anew by itself, a removed mode ends it.
        before = server.value("postgres", "select active_pid from pg_replication_slots")
        archive.policy["jobs"]["wal"]["acknowledge"] = "spooled"
        archive.write()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: other_active(before), 40, "it goes on by the new policy")
        archive.policy["jobs"]["wal"]["mode"] = "push"
        archive.write()
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: not active(), 40, "it has ended")
        archive.policy["jobs"]["wal"]["mode"] = "receive"
        archive.write()
        process.send_signal(signal.SIGHUP)
        wait_until(active, 40, "it receives again")
        fill(server, 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (archive.root / "daemon.err").read_text()
        assert not receiver.slot()["active"] and not archive.own_processes()
    finally:
        end_process(process, signal.SIGKILL)
    log = (archive.root / "daemon.err").read_text()
    assert "demo/wal receive: ended by signal 9" in log and "demo/wal receive: has ended" in log


def test_the_hourly_job_and_status(archive):
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        before = archive.server.psql("postgres", f"{FILL}; select pg_walfile_name(pg_current_wal_lsn())")
        run = archive.run("run", "demo/wal", json_output=True).json
        assert run["outcome"] == "done" and before in archive.segments()
        slot = archive.run("wal", "status", "demo", json_output=True).json["slot"]
        assert slot["name"] == SLOT and slot["active"] and slot["held_bytes"] < 64 << 20
        assert f"{SLOT}, received from" in archive.run("wal", "status", "demo").out
        receiver.stop()
    fill(archive.server, 2)
    seen = archive.run("wal", "status", "demo", json_output=True, expect=1).json
    assert [g["state"] for g in seen["timelines"][0]["gaps"]] == ["delayed"] and not seen["slot"]["active"]
    assert any("nobody receives" in p["what"] for p in seen["problems"])
    archive.run("wal", "receive", "demo", "--drop-slot")
    assert_error(archive.run("run", "demo/wal", expect=1), "no replication slot", "--create-slot")


def test_the_preflight(archive):
    def checks(expect):
        document = archive.run("check", json_output=True, expect=expect).json
        return {c["id"]: c for c in document["checks"]}

    found = checks(1)
    assert found["wal receiving"]["status"] == "fail" and "--create-slot" in found["wal receiving"]["cure"]
    assert found["wal slot limit"]["status"] == "warn" and "max_slot_wal_keep_size" in found["wal slot limit"]["cure"]
    assert found["wal replication"]["status"] == "pass"
    with Receiver(archive) as receiver:
        receiver.wait_streaming()
        archive.server.psql("postgres", "alter system set max_slot_wal_keep_size = '1GB'")
        archive.server.psql("postgres", "select pg_reload_conf()")
        archive.server.wait_for("select setting = '1024' from pg_settings where name = 'max_slot_wal_keep_size'")
        found = checks(None)
        assert {found[i]["status"] for i in ("wal receiving", "wal slot limit", "wal replication")} == {"pass"}
        receiver.stop()


def test_memory_is_bounded(archive):
    """Neither a backlog nor a store that is away makes the receiver grow."""
    server = archive.server
    receiver = Receiver(archive)
    fill(server, 20)
    most = 0
    with receiver:
        receiver.wait_streaming()
        watching = threading.Event()
        while not watching.is_set():
            status = (open(f"/proc/{receiver.process.pid}/status", encoding="ascii")).read()
            most = max(most, int(status.split("VmHWM:")[1].split()[0]))
            if receiver.slot()["lag"] < 32 << 20:
                watching.set()
            time.sleep(0.1)
        receiver.stop()
    assert most < 100 << 10, f"{most} kB"
