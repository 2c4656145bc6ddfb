#!/usr/bin/python3
"""Snapshots and WAL against pg_basebackup, pgbackrest and cp, as ratios from one run on this machine.

    /usr/bin/python3 tests/bench/physical.py [--store file|s3] [--scale 8] [--segments 200] [--rounds 3]
                                             [--only snapshot,wal] [--level 1] [--rival-level 1]

Needs a release build (cmake --preset release && ninja -C build/release) and pgbackrest. Every figure is
the median of the rounds; each round runs the rivals one after the other, in turns the one or the
other first. All use two threads or processes and zstd at the level that is told; all run as the
user postgres, where the caller is root. Scale 8 is a cluster of about 2 GB; the benches of WAL need
about 5 GB in $TMPDIR for a while. --store s3 takes a bucket of Ceph's gateway, with TLS, as
pgbackrest talks no other S3.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from dump import folder_bytes, mb, measure, rounds_in_turns, row
from archive import Archive
from pg import BINDIR, Server, as_user, clean_environment, own, wait_until
from repositories import FileRepository, FileStore, S3Repository, S3Store
from rival import PROCESSES, PgBackRest
from s3 import Service

HERE = Path(__file__).resolve().parent
MEMORY_KB = 150 * 1024
IDLE_CALLS = 300
IDLE_MS = 3.0
CLUSTER = "bench"
CUTIME = 13  # in /proc/PID/stat behind the name: user and system ticks of children that were waited for
PROCESSORS = "time of processors, the server's too"
JOBS = {"weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d"}}}
CONFIG = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h", "maintenance_work_mem": "256MB",
          "archive_mode": "on", "wal_level": "replica", "max_wal_senders": 5}
WAL_CONFIG = {**CONFIG, "max_wal_size": "1GB", "full_page_writes": "on", "archive_command": "false"}
WAL_SCALE = 10  # of pgbench, 150 MB
EVENTS = """
insert into events (at, body) select clock_timestamp(), jsonb_build_object('id', g, 'token', md5(random()::text),
  'path', '/orders/' || (random() * 100000)::int, 'status', (array[200,201,404])[1 + g % 3]) from generate_series(1, 50) g;
"""


def memory_row(what, kilobytes):
    print(f"| {what}: peak memory | {kilobytes / 1024:.0f} MB | | | <= {MEMORY_KB // 1024} MB | "
          f"{'met' if kilobytes <= MEMORY_KB else 'MISSED'} |", flush=True)


def no_target(what, ours, theirs, unit):
    print(f"| {what} | {ours:.2f} {unit} | {theirs:.2f} {unit} | {ours / theirs:.2f} | | |", flush=True)


class Store:
    """Where the repositories of one bench lie: below the server's folder, or in a bucket."""

    def __init__(self, kind):
        self.service = None
        if kind == "s3":
            self.service = Service.start(tls=True)
            self.ca_file = self.service.ca_file

    def open(self, server):
        """A store for pgcairn's repository, and one repository for the rival."""
        if not self.service:
            return FileStore(), FileRepository(server.root / "pgbackrest-repository")
        readable = server.root / "ca.pem"
        shutil.copy(self.ca_file, readable)
        os.chmod(readable, 0o644)
        self.service.ca_file = readable
        store = S3Store(self.service)
        return store, S3Repository(self.service, store.bucket, f"pgbackrest-{server.port}")

    def stop(self):
        if self.service:
            self.service.stop()


class Bench:
    def __init__(self, options, store, server):
        self.options, self.server = options, server
        ours, theirs = store.open(server)
        self.archive = Archive(server, CLUSTER, jobs=JOBS, store=ours)
        self.archive.policy["repository"]["compression"] = {"level": options.level, "threads": PROCESSES}
        self.archive.write()
        self.rival = PgBackRest(server, theirs, options.rival_level)
        self.user = {"cwd": server.data, **as_user(server.user)}

    def rounds_of(self, *functions):
        return rounds_in_turns(self.options.rounds, *functions)

    def fresh_folder(self, name):
        """An empty folder of the server's user."""
        folder = self.server.root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        own(folder, self.server.user)
        return folder

    def empty_repository(self):
        if self.archive.repository.keys():
            self.archive.repository.clear()

    def processors(self):
        """Seconds of processors that our children and the server's have taken up to now, those that ended."""
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        server = Path(f"/proc/{self.server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = sum(map(int, server[CUTIME:CUTIME + 2]))
        return ours.ru_utime + ours.ru_stime + ticks / os.sysconf("SC_CLK_TCK")

    def timed(self, function):
        """(seconds, seconds of processors, what more the function returns behind its seconds)"""
        os.sync()
        before = self.processors()
        seconds, *more = function()
        return seconds, self.processors() - before, *more

    def pgcairn(self, *words):
        command = [self.archive.bin / "pgcairn", "-q", "-c", self.archive.policy_file, *words]
        return self.timed(lambda: measure(list(map(str, command)), clean_environment(**self.archive.environment()),
                                          **self.user))

    def pgbackrest(self, *words):
        return self.timed(lambda: self.rival.measure(*words))


# -- snapshots --------------------------------------------------------------------------------------


def snapshot_by_pgcairn(bench):
    bench.empty_repository()
    return bench.pgcairn("run", f"{CLUSTER}/weekly")


def snapshot_by_pg_basebackup(bench):
    folder = bench.fresh_folder("basebackup")
    method = f"client-zstd:level={bench.options.level},workers={PROCESSES}"
    command = [str(BINDIR / "pg_basebackup"), "-Ft", f"--compress={method}", "-c", "fast", "-D", str(folder)]
    seconds, cpu, _ = bench.timed(lambda: measure(command, bench.server.environment(), **bench.user))
    size = folder_bytes(folder)
    shutil.rmtree(folder)
    return seconds, cpu, size


def snapshot_by_pgbackrest(bench):
    bench.rival.clear("backup")
    seconds, cpu, _ = bench.pgbackrest("backup", "--type=full", "--no-expire-auto")
    return seconds, cpu, bench.rival.stored("backup")


def restore_by_pgcairn(bench):
    folder = bench.fresh_folder("restored")
    return bench.pgcairn("restore", "snapshot", CLUSTER, "latest", "--immediate", "--jobs", str(PROCESSES),
                         "--target-dir", str(folder))


def restore_by_pgbackrest(bench):
    folder = bench.fresh_folder("restored")
    return bench.pgbackrest("restore", f"--pg1-path={folder}", "--type=immediate", "--archive-mode=off")


def bench_snapshot(options, store):
    server = Server("bench", CONFIG)
    try:
        bench = Bench(options, store, server)
        server.configure(archive_command=bench.rival.push_command())
        server.start()
        bench.rival.run("stanza-create")
        server.createdb("mixed")
        server.load("mixed", HERE / "data.sql", scale=options.scale)
        server.psql("postgres", "vacuum freeze; checkpoint")
        wait_until(lambda: len(ready_files(server)) == 0, 300, "the WAL of the load was archived")
        size = int(server.value("postgres", "select sum(pg_database_size(oid)) from pg_database"))
        what = f"snapshot of {size / 1e9:.1f} GB"
        ours, base, theirs = bench.rounds_of(lambda: snapshot_by_pgcairn(bench), lambda: snapshot_by_pg_basebackup(bench),
                                             lambda: snapshot_by_pgbackrest(bench))
        stored = sum(bench.archive.repository.sizes().values())
        row(f"{what}, against pg_basebackup", ours[0], base[0], 0.9)
        no_target(PROCESSORS, ours[1], base[1], "s")
        no_target("stored size, against the same", mb(stored), mb(base[2]), "MB")
        row(f"{what}, against pgbackrest", ours[0], theirs[0], 0.7)
        no_target(PROCESSORS, ours[1], theirs[1], "s")
        row("stored size, against the same", mb(stored), mb(theirs[2]), 1.0, "MB")
        memory_row("snapshot", ours[2])
        restored, theirs = bench.rounds_of(lambda: restore_by_pgcairn(bench), lambda: restore_by_pgbackrest(bench))
        row("restore, against pgbackrest", restored[0], theirs[0], 1.0)
        no_target(PROCESSORS, restored[1], theirs[1], "s")
        memory_row("restore", restored[2])
    finally:
        server.stop()


# -- WAL --------------------------------------------------------------------------------------------


def ready_files(server):
    folder = server.data / "pg_wal/archive_status"
    return sorted(p.stem for p in folder.iterdir() if p.suffix == ".ready")


def write_wal(server, segments):
    """pgbench's transactions, and inserts of documents, until so many segments wait."""
    script = server.root / "events.sql"
    script.write_text(EVENTS)
    while len(ready_files(server)) < segments:
        server.program("pgbench", "-n", "-M", "prepared", "-c", "4", "-T", "5", "-b", "tpcb-like@3", "-f", f"{script}@1")
        server.psql("postgres", "checkpoint")
    server.psql("postgres", "select pg_switch_wal()")


class Backlog:
    """A server that was halted with its WAL unarchived, and a copy of it from before that WAL."""

    def __init__(self, bench):
        self.bench, self.server = bench, bench.server
        self.plain = self.server.root / "plain"
        self.base = self.server.root / "base"
        self.loop = shutil.copy(HERE / "archiver.py", self.server.root)  # where the server's user can read it
        self._make(bench.options.segments)

    def _make(self, segments):
        server = self.server
        server.program("pgbench", "-i", "-q", "-s", str(WAL_SCALE))
        server.psql("postgres", "create table events (id bigserial primary key, at timestamptz, body jsonb)")
        self.bench.rival.run("stanza-create")
        subprocess.run([BINDIR / "pg_basebackup", "-D", self.base, "-X", "fetch", "-c", "fast", "--no-sync"], check=True,
                       env=server.environment(), stderr=subprocess.DEVNULL, **self.bench.user)
        write_wal(server, segments)
        self.transactions = server.value("postgres", "select count(*) from events")
        server.halt()
        self.names = ready_files(server)
        self.plain.mkdir()
        for name in self.names:
            os.link(server.data / "pg_wal" / name, self.plain / name)

    def make_ready(self):
        status = self.server.data / "pg_wal/archive_status"
        for name in self.names:
            done = status / f"{name}.done"
            if done.exists():
                done.rename(status / f"{name}.ready")
        os.sync()

    def archiver(self, command, *options):
        done = subprocess.run([sys.executable, self.loop, self.server.data, command, *map(str, options)],
                              capture_output=True, text=True, check=False, env=clean_environment(), **self.bench.user)
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        return json.loads(done.stdout)

    def push(self, command):
        """Milliseconds per segment, of the clock and of processors."""
        done = self.archiver(command)
        return tuple(done[what] * 1000 / len(self.names) for what in ("seconds", "cpu"))

    def push_by_pgcairn(self):
        self.bench.empty_repository()
        shutil.rmtree(self.bench.archive.state / "wal", ignore_errors=True)
        self.make_ready()
        return self.push(self.bench.archive.command(f"push {CLUSTER} %p"))

    def push_by_pgbackrest(self):
        self.bench.rival.clear("archive")
        self.make_ready()
        return self.push(self.bench.rival.push_command())

    def idle_calls(self, command):
        """Milliseconds of a call, the median of many."""
        return (statistics.median(self.archiver(command, "--calls", IDLE_CALLS)["calls"]) * 1000,)

    def replay(self, restore_command):
        """Seconds from the start of a copy to the end of its recovery."""
        data = self.server.root / "replayed"
        shutil.rmtree(data, ignore_errors=True)
        subprocess.run(["cp", "-a", self.base, data], check=True)
        os.sync()
        copy = Server("replay", {"archive_mode": "off", "hot_standby": "off", "archive_command": "", "max_wal_size": "1GB",
                                 "checkpoint_timeout": "5min", "restore_command": restore_command, "fsync": "on"}, data=data)
        marker = data / "recovery.signal"
        marker.touch()
        own(marker, self.server.user)
        try:
            before = time.monotonic()
            copy.start()
            seconds = time.monotonic() - before
            assert copy.value("postgres", "select count(*) from events") == self.transactions, "not all was replayed"
        finally:
            copy.stop()
            shutil.rmtree(data)
        return (seconds,)

    def replay_by_pgcairn(self):
        seconds = self.replay(self.bench.archive.command(f"fetch {CLUSTER} %f %p"))
        wait_until(lambda: not self.bench.archive.own_processes(), 60, "the helper of wal fetch ended")
        return seconds


def bench_wal(options, store):
    server = Server("bench", WAL_CONFIG)
    try:
        bench = Bench(options, store, server)
        server.start()
        backlog = Backlog(bench)
        what = f"of {len(backlog.names)} segments"
        ours, theirs = bench.rounds_of(backlog.push_by_pgcairn, backlog.push_by_pgbackrest)
        row(f"push {what}, per segment, against pgbackrest", ours[0], theirs[0], 0.5, "ms")
        no_target(PROCESSORS, ours[1], theirs[1], "ms")
        stored = sum(bench.archive.repository.sizes(f"{CLUSTER}/wal/").values())
        no_target("stored size, against the same", mb(stored), mb(bench.rival.stored("archive")), "MB")
        backlog.make_ready()
        ours, true = bench.rounds_of(lambda: backlog.idle_calls(bench.archive.command(f"push {CLUSTER} %p")),
                                     lambda: backlog.idle_calls("/bin/true"))
        row("a push with nothing left to do, against /bin/true (both through sh)", ours[0], true[0], IDLE_MS / true[0], "ms")
        ours, theirs = bench.rounds_of(backlog.replay_by_pgcairn, lambda: backlog.replay(f"cp {backlog.plain}/%f %p"))
        row(f"replay {what}, against cp from a folder", ours[0], theirs[0], 1.3)
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", choices=("file", "s3"), default="file")
    parser.add_argument("--scale", type=float, default=8)
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--rival-level", type=int, default=1)
    parser.add_argument("--only", default="snapshot,wal")
    options = parser.parse_args()
    if not shutil.which("pgbackrest"):
        sys.exit("physical.py: pgbackrest is missing: apt-get install pgbackrest")
    store = Store(options.store)
    try:
        print(f"Store {options.store}, zstd level {options.level}, pgbackrest's {options.rival_level}.\n", flush=True)
        print("| what | pgcairn | other | ratio | target | |\n|---|---|---|---|---|---|", flush=True)
        if "snapshot" in options.only.split(","):
            bench_snapshot(options, store)
        if "wal" in options.only.split(","):
            bench_wal(options, store)
    finally:
        store.stop()


if __name__ == "__main__":
    main()
