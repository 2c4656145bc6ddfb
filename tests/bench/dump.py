#!/usr/bin/python3
"""Dump and restore against PostgreSQL's own programs, as ratios from one run on this machine.

    /usr/bin/python3 tests/bench/dump.py [--scale 10] [--rounds 3] [--only mixed,single,memory,tables]

Needs a release build (cmake --preset release && cmake --build --preset release). Every figure is the
median of the rounds, each round runs the rivals one after the other. Scale 10 is about 2 GB of rows.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/integration"))
os.environ.setdefault("PGCAIRN_BINARY", str(TOP / "build/release/src/pgcairn"))
from pg import BINDIR, Server  # noqa: E402

BINARY = os.environ["PGCAIRN_BINARY"]
CONFIG = {"shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "1h", "maintenance_work_mem": "256MB"}


def measure(command, env, shell=False, **options):
    """Seconds of a command, and the peak of its resident memory (kB). options: of the process."""
    before = time.monotonic()
    process = subprocess.Popen(command, env=env, shell=shell, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    peak = 0
    while process.poll() is None:
        try:
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak = max(peak, int(line.split()[1]))
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.01)
    error = process.stderr.read().decode()
    if process.returncode:
        sys.exit(f"{command} failed: {error}")
    return time.monotonic() - before, peak


def rounds_in_turns(rounds, *functions):
    """The medians of what each returns, a tuple of numbers; every other round begins with the last."""
    results = [[] for _ in functions]
    for i in range(rounds):
        turn = range(len(functions)) if i % 2 == 0 else reversed(range(len(functions)))
        for j in turn:
            results[j].append(functions[j]())
    return [tuple(statistics.median(column) for column in zip(*result)) for result in results]


def folder_bytes(folder):
    return sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())


class Bench:
    def __init__(self, server, work, rounds):
        self.server, self.work, self.rounds = server, work, rounds
        self.env = server.environment()
        self.env["STATE_DIRECTORY"] = str(work / "state")
        (work / "state").mkdir()

    def policy(self, database, jobs):
        file = self.work / f"{database}-{jobs}.yaml"
        file.write_text(f"""cluster: bench
postgres:
  connection: "host={self.server.socket_dir} port={self.server.port} user=postgres dbname=postgres"
  databases: ["{database}"]
repository: {{url: "file://{self.work}/repo"}}
jobs:
  nightly: {{type: dump, schedule: "0 2 * * *", keep: {{last: 3}}, jobs: {jobs}}}
""")
        return str(file)

    def dump(self, database, jobs=2):
        shutil.rmtree(self.work / "repo", ignore_errors=True)
        return measure([BINARY, "-q", "-c", self.policy(database, jobs), "run", "bench/nightly"], self.env)

    def restore(self, database, jobs=2):
        self.server.dropdb("bench_restored")
        self.server.psql("postgres", "checkpoint")
        return measure([BINARY, "-q", "-c", self.policy(database, jobs), "restore", "dump", "bench", "latest",
                        "--into", "bench_restored", "--jobs", str(jobs), "--no-analyze", "--no-counts"], self.env)

    def pg_dump(self, database, *options):
        target = self.work / "pg_dump"
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)
        seconds, _ = measure([str(BINDIR / "pg_dump"), *options, "-f", str(target), database], self.env)
        return seconds, folder_bytes(target) if target.is_dir() else target.stat().st_size

    def pg_restore(self, jobs=2):
        self.server.dropdb("bench_restored")
        self.server.createdb("bench_restored")
        self.server.psql("postgres", "checkpoint")
        return measure([str(BINDIR / "pg_restore"), f"-j{jobs}", "-d", "bench_restored",
                        str(self.work / "pg_dump")], self.env)[0]

    def pipes(self, database, tables, jobs=2):
        """psql COPY | zstd, `jobs` at a time: what a shell script would do."""
        target = self.work / "pipes"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        script = self.work / "pipe.sh"
        script.write_text('psql -X -q -d "$2" -c "copy $1 to stdout" | zstd -1 -q -o "$3/$(echo "$1" | tr -d \'\\"\').zst"\n')
        listing = "\n".join(tables)
        command = f"printf '%s\\n' '{listing}' | xargs -d '\\n' -P {jobs} -I {{}} sh {script} {{}} {database} {target}"
        seconds, _ = measure(command, {**self.env, "PATH": f"{BINDIR}:{os.environ['PATH']}"}, shell=True)
        return seconds, folder_bytes(target)

    def rounds_of(self, *functions):
        results = [[] for _ in functions]
        for _ in range(self.rounds):
            for i, function in enumerate(functions):
                results[i].append(function())
        return [tuple(statistics.median(column) for column in zip(*result)) for result in results]


def row(what, ours, theirs, target, unit="s"):
    ratio = ours / theirs
    verdict = "met" if ratio <= target else "MISSED"
    print(f"| {what} | {ours:.2f} {unit} | {theirs:.2f} {unit} | {ratio:.2f} | <= {target:.2f} | {verdict} |", flush=True)


def mb(size):
    return size / 1e6


def bench_database(bench, database, name, dump_target, restore_target, with_fc, pipe_tables):
    ours, fd, pipes = bench.rounds_of(
        lambda: bench.dump(database), lambda: bench.pg_dump(database, "-Fd", "-j2", "-Z1"),
        lambda: bench.pipes(database, pipe_tables))
    row(f"{name}: dump, against pg_dump -Fd -j2 -Z1", ours[0], fd[0], dump_target)
    stored = folder_bytes(bench.work / "repo")
    row(f"{name}: stored size, against the same", mb(stored), mb(fd[1]), 0.85, "MB")
    row(f"{name}: dump, against psql COPY \\| zstd -1, 2 at a time", ours[0], pipes[0], 1.0)
    restored, theirs = bench.rounds_of(lambda: bench.restore(database), lambda: (bench.pg_restore(),))
    row(f"{name}: restore, against pg_restore -j2", restored[0], theirs[0], restore_target)
    print(f"| {name}: peak memory of dump, restore | {ours[1] / 1024:.0f} MB, {restored[1] / 1024:.0f} MB | | | <= 100 MB | "
          f"{'met' if max(ours[1], restored[1]) <= 100 * 1024 else 'MISSED'} |", flush=True)
    if with_fc:
        fc = bench.pg_dump(database, "-Fc")
        row(f"{name}: dump, against pg_dump -Fc", ours[0], fc[0], 0.25)


def bench_memory(bench, database, name):
    dump, restore = bench.dump(database), bench.restore(database)
    peak = max(dump[1], restore[1]) / 1024
    print(f"| {name}: peak memory of dump, restore | {dump[1] / 1024:.0f} MB, {restore[1] / 1024:.0f} MB | | | <= 100 MB | "
          f"{'met' if peak <= 100 else 'MISSED'} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="mixed,single,memory,tables")
    options = parser.parse_args()
    only = options.only.split(",")
    work = Path(tempfile.mkdtemp(prefix="pgcairn-bench-"))
    server = Server("bench", CONFIG).start()
    try:
        bench = Bench(server, work, options.rounds)
        print("| what | pgcairn | other | ratio | target | |\n|---|---|---|---|---|---|", flush=True)
        if "mixed" in only:
            server.createdb("mixed")
            server.load("mixed", TOP / "tests/bench/data.sql", scale=options.scale)
            bench_database(bench, "mixed", "mixed tables", 0.70, 1.05, True,
                           ['"Orders"', "conversations", "chunks", "prices"])
            server.dropdb("mixed")
        if "single" in only:
            server.createdb("single")
            server.psql("single", "create table events (id bigint, at timestamptz, kind text, payload text, value "
                        "double precision); insert into events select i, '2024-01-01'::timestamptz + i * interval "
                        "'1 second', 'kind ' || i % 17, md5(i::text) || ' ' || repeat('payload ' || i % 1000 || ' ', "
                        f"6), i * 0.37 from generate_series(1, {int(820000 * options.scale)}) i")
            bench_database(bench, "single", "one table", 0.50, 0.75, False, ["events"])
            server.dropdb("single")
        if "memory" in only:
            server.createdb("small")
            server.load("small", TOP / "tests/bench/data.sql", scale=options.scale / 10)
            bench_memory(bench, "small", "a tenth of the mixed tables")
            server.dropdb("small")
        if "tables" in only:
            server.createdb("many")
            server.psql("many", "".join(f"create table t{i} (id serial primary key, a text, b int);"
                                        f"insert into t{i} (a, b) values ('x', {i});\n" for i in range(5000)))
            bench_memory(bench, "many", "5,000 tables")
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
