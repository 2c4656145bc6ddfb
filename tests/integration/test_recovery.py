"""Recovery under load: to random moments, across timelines, and with everything killed again and again.

PGCAIRN_TEST_ROUNDS=50 makes more of the rounds, PGCAIRN_TEST_SEED repeats those of an earlier run.
"""
import os
import shutil
import time

import pytest
from archive import Archive
from cairn import assert_error
from load import Bank, seeded
from receiver import JOBS as RECEIVE_JOBS
from receiver import Receiver
from snapshots import JOBS, Beside, Cluster, now

WAL = {"wal": {"type": "wal", "schedule": "0 * * * *", "keep": {"within": "7d"}, "mode": "push", "timeout": "60s"}}
SERVER = {"track_commit_timestamp": "on", "hot_standby": "on", "max_wal_size": "128MB", "max_replication_slots": 5}
SEED = os.environ.get("PGCAIRN_TEST_SEED")


def rounds(usual):
    return int(os.environ.get("PGCAIRN_TEST_ROUNDS", usual))


def make_cluster(name, store):
    return Cluster(name, store=store, jobs={**JOBS, **WAL}, **SERVER)


def finish(archive):
    """All that was written is in the repository, and the WAL job finds nothing lost."""
    name = archive.server.value("postgres", "select pg_create_restore_point('end'); "
                                            "select pg_walfile_name(pg_switch_wal())").split("\n")[-1]
    # An archiver that was killed is started again after ten seconds, by a server that is spoken to.
    archive.server.wait_for(f"select last_archived_wal >= '{name}' from pg_stat_archiver", seconds=60)
    archive.run("run", "demo/wal")


def assert_nothing_lost(archive):
    """What the server's archiver is at just now has a minute to arrive."""
    for _ in range(120):
        seen = archive.run("wal", "status", "demo", json_output=True).json
        gaps = [gap for timeline in seen["timelines"] for gap in timeline["gaps"]]
        if not any(gap["state"] == "uploading" for gap in gaps):
            break
        time.sleep(0.5)
    assert seen["problems"] == [] and gaps == []
    assert all(window["open"] for window in seen["recovery_windows"]) and seen["recovery_windows"]


def check_moment(cluster, bank, *arguments, moment=None):
    """Restores, starts, compares and throws away."""
    target = ["--to", moment] if moment else []
    folder = cluster.restore(*arguments, *target)
    copy = cluster.start(folder)
    try:
        bank.check(copy, moment)
    except AssertionError as wrong:
        raise AssertionError(f"{wrong}\n{copy.log.read_text()[-4000:]}") from None
    finally:
        copy.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def history(store):
    """A cluster under load, two snapshots taken meanwhile; then the end of the load, all of it archived."""
    cluster = make_cluster("history", store)
    try:
        cluster.bank = Bank(cluster.server)
        with cluster.bank.busy():
            time.sleep(0.5)
            cluster.snapshot()
            cluster.since = now(cluster.server).rstrip("Z")
            for _ in range(3):
                time.sleep(0.6)
                cluster.server.psql("postgres", "select pg_switch_wal()")
            cluster.snapshot()
            time.sleep(1)
        finish(cluster.archive)
        yield cluster
    finally:
        cluster.stop()


def test_random_moments(history):
    """Exactly what was committed before the moment is there."""
    assert_nothing_lost(history.archive)
    chance = seeded("random moments", SEED)
    for _ in range(rounds(5 if history.repository.kind == "file" else 3)):
        moment = history.bank.random_moment(chance, first=history.since)
        print(f"to {moment}")
        check_moment(history, history.bank, moment=moment)


def test_the_end(history):
    check_moment(history, history.bank)


def test_a_segment_is_missing(history):
    """What lies behind it is refused beforehand; where it is lost only later, the server stops and does not go on."""
    archive = history.archive
    names = sorted(n for n in archive.segments() if len(n) == 24)
    oldest = min(b["id"] for b in archive.run("list", "demo", json_output=True).json["backups"])
    folder = history.restore(oldest)
    lost = names[-2]
    (key,) = archive.segments()[lost]
    content = archive.repository.read(key)
    archive.repository.delete(key)
    try:
        for target in (["--to", history.bank.marks[-1].after + "Z"], []):
            assert_error(history.restore(*target, expect=1), lost, "is not in the repository")
        copy = history.serve(folder, archive_mode="off", hot_standby="off")
        with pytest.raises(RuntimeError):
            copy.start()
        assert "a hole" in copy.log.read_text() and "selected new timeline" not in copy.log.read_text()
    finally:
        archive.repository.write(key, content)
    copy.start()
    history.wait_recovered(copy)
    history.bank.check(copy)
    copy.stop()


def test_a_promotion_and_both_timelines(store):
    """A standby is promoted while the old primary goes on: every moment of either can be recovered."""
    chance = seeded("two timelines", SEED)
    cluster = make_cluster("lines", store)
    try:
        bank = Bank(cluster.server)
        with bank.busy():
            time.sleep(0.3)
            cluster.snapshot()
            cluster.archive.switch()
            standby = cluster.serve(cluster.restore("--standby"), "standby", wal_retrieve_retry_interval="200ms")
            standby.start()
            time.sleep(0.5)
            seen = max(bank.numbers(cluster.server))
            cluster.archive.switch()
            standby.wait_for(f"select max(n) >= {seen} from marks", database="bank")
            standby.psql("postgres", "select pg_promote()")
            fork = now(standby).rstrip("Z")
            time.sleep(1)
        finish(cluster.archive)
        cluster.server.halt()
        cluster.move_to(standby)
        other = bank.branch(standby)
        with other.busy():
            time.sleep(1)
        finish(cluster.archive)
        check_moment(cluster, other, moment=other.random_moment(chance, first=other.marks[-5].before))
        check_moment(cluster, other)
        check_moment(cluster, bank, "--timeline", "1", moment=bank.random_moment(chance, first=fork))
        check_moment(cluster, bank, "--timeline", "1")
    finally:
        cluster.stop()


# -- kill -9 -----------------------------------------------------------------------------------------


class Rounds:
    """Kills at random moments: of push, receive, snapshot and restore, of a server under load."""

    def __init__(self, cluster, receiver, chance, is_long):
        self.cluster, self.receiver, self.chance = cluster, receiver, chance
        self.archive, self.is_long = cluster.archive, is_long
        self.killed = {kind: 0 for kind in self.kinds}
        self.folder = cluster.folder()

    kinds = ("push", "receive", "snapshot", "restore")

    def one(self, kind):
        self.killed[kind] += getattr(self, kind)(self.chance)

    def push(self, chance):
        """One by hand, of the segment that the server pushes at that moment; or the server's own, and then
        the server starts its archiver again only after ten seconds."""
        name = self.archive.server.value("postgres", "select pg_walfile_name(pg_switch_wal())")
        if self.is_long and chance.random() < 0.5:
            time.sleep(chance.uniform(0, 0.1))
            return self.archive.kill_one("push")
        push = Beside(self.archive, "wal", "push", "demo", f"pg_wal/{name}", cwd=self.archive.server.data)
        return push.kill_after(chance.uniform(0.01, 0.15))

    def receive(self, chance):
        if chance.random() < 0.5:
            self.receiver.finish_segment()
        time.sleep(chance.uniform(0, 0.4))
        self.receiver.running()
        self.receiver.kill()
        self.receiver.start()
        return True

    def snapshot(self, chance):
        return Beside(self.archive, "run", "demo/weekly").kill_after(chance.uniform(0.05, 1))

    def restore(self, chance):
        """Goes on with the restore of an earlier round; one that came to its end makes room for the next."""
        if self.is_restored():
            shutil.rmtree(self.folder)
        run = Beside(self.archive, "restore", "snapshot", "demo", self.first, "--target-dir", self.folder, *self.resume())
        killed = run.kill_after(chance.uniform(0.05, 0.6))
        assert killed or (run.process.returncode == 0 and self.is_restored())
        if (self.folder / "global/pg_control").exists():
            assert (self.folder / "recovery.signal").exists() and not list(self.folder.glob("**/*.pgcairn"))
        return killed

    def is_restored(self):
        return (self.folder / "global/pg_control").exists() and not self.resume()

    def resume(self):
        return ["--resume"] if (self.folder / "pgcairn-restore.json").exists() else []

    def end(self):
        """The restore that was killed last comes to its end."""
        if self.is_restored():
            return self.folder
        return self.cluster.restore(self.first, *self.resume(), folder=self.folder)


def test_killed_again_and_again(store):
    """Whatever is killed, whenever: no segment is lost, and every mark comes back, pushed or received."""
    chance = seeded("kills", SEED)
    count = rounds(8)
    cluster = make_cluster("kills", store)
    try:
        bank = Bank(cluster.server)
        received = Archive(cluster.server, name="received", jobs={**JOBS, **RECEIVE_JOBS}, store=store)
        with Receiver(received) as receiver:
            receiver.wait_streaming()
            received.run("run", "demo/weekly")
            run = Rounds(cluster, receiver, chance, count > 8)
            run.first = cluster.snapshot()
            with bank.busy():
                for number in range(count):
                    kind = Rounds.kinds[number % 4] if number < 8 else chance.choice(Rounds.kinds)
                    run.one(kind)
                    time.sleep(chance.uniform(0, 0.3))
            print(f"killed: {run.killed}")
            assert sum(run.killed.values()) >= count // 2, run.killed
            last = cluster.snapshot()
            finish(cluster.archive)
            receiver.wait_streaming().wait_safe(120)
            received.run("run", "demo/wal")
            assert_nothing_lost(cluster.archive)
            assert_nothing_lost(received)
            receiver.stop()
        states = {b["id"]: b["state"] for b in cluster.archive.run("list", "demo", json_output=True).json["backups"]}
        assert {states[run.first], states[last]} == {"good"} and set(states.values()) <= {"good", "unfinished"}
        copy = cluster.start(run.end())  # from the first snapshot on, by the killed restore
        bank.check(copy)
        copy.stop()
        cluster.archive = received
        check_moment(cluster, bank)
    finally:
        cluster.stop()
