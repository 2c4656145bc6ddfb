"""Recovery under load: to random moments, across timelines, and with everything killed again and again.

PGCAIRN_TEST_ROUNDS=50 makes more of the rounds, PGCAIRN_TEST_SEED repeats those of an earlier run.
"""
import os
import shutil
import time

import pytest
from archive import Archive
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
    archive.server.wait_for("select count(*) > 0 from pg_stat_activity where backend_type = 'archiver'")
    archive.switch()
    archive.run("run", "demo/wal")


def assert_nothing_lost(archive):
    seen = archive.run("wal", "status", "demo", json_output=True).json
    assert seen["problems"] == [] and [g for t in seen["timelines"] for g in t["gaps"]] == []
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
    for _ in range(rounds(5)):
        moment = history.bank.random_moment(chance, first=history.since)
        print(f"to {moment}")
        check_moment(history, history.bank, moment=moment)


def test_the_end(history):
    check_moment(history, history.bank)


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
            standby = cluster.serve(cluster.restore("--standby"), "standby")
            standby.start()
            time.sleep(0.5)
            cluster.archive.switch()
            seen = max(m.number for m in bank.marks) if bank.marks else 1
            standby.wait_for(f"select count(*) > {seen} from marks", database="bank")
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
        """Goes on with the restore of an earlier round, to its end if it is not killed before."""
        mark = self.folder / "pgcairn-restore.json"
        words = ["restore", "snapshot", "demo", self.first, "--target-dir", self.folder]
        run = Beside(self.archive, *words, *(["--resume"] if mark.exists() else []))
        killed = run.kill_after(chance.uniform(0.05, 0.6))
        if not killed:
            assert run.process.returncode == 0
            shutil.rmtree(self.folder)
        assert not mark.exists() or (not (self.folder / "postmaster.pid").exists())
        return killed

    def end(self):
        """The restore that was killed last comes to its end."""
        mark = self.folder / "pgcairn-restore.json"
        resume = ["--resume"] if mark.exists() else []
        if (self.folder / "global/pg_control").exists() and not mark.exists():
            return self.folder
        return self.cluster.restore(self.first, *resume, folder=self.folder)


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
