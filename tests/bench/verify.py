#!/usr/bin/python3
"""A verification of a snapshot against `zstd -t` of the same volumes, as a ratio from one run on this machine.

    /usr/bin/python3 tests/bench/verify.py [--scale 10] [--rounds 3] [--threads 1,2]

Needs a release build. `zstd -t` only unpacks, as many volumes at once as the verification has jobs; ours also hashes
what is stored, and every file in it in a thread beside. Scale 10 is about 2 GB of rows.
"""
import argparse
import os
import resource
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from dump import BINARY, CONFIG, TOP, folder_bytes, measure, row  # noqa: E402
from pg import Server  # noqa: E402

POLICY = """cluster: bench
postgres: {{connection: "host={socket} port={port} user=postgres dbname=postgres"}}
repository: {{url: "file://{work}/repository"}}
jobs:
  weekly: {{type: snapshot, schedule: "0 3 * * sun", keep: {{last: 3}}}}
"""


def measure_all(command, env, **options):
    """Seconds, peak (kB), and the seconds of processors, which other work on this machine changes less."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = measure(command, env, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, peak, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="1,2")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="pgcairn-bench-"))
    server = Server("bench", {**CONFIG, "wal_level": "replica", "max_wal_senders": 5}).start()
    try:
        server.createdb("mixed")
        server.load("mixed", TOP / "tests/bench/data.sql", scale=options.scale)
        policy = work / "policy.yaml"
        policy.write_text(POLICY.format(socket=server.socket_dir, port=server.port, work=work))
        policy.chmod(0o600)
        env = {**server.environment(), "STATE_DIRECTORY": str(work)}
        measure([BINARY, "-q", "-c", str(policy), "run", "bench/weekly"], env)
        size = server.value("postgres", "select sum(pg_database_size(oid)) from pg_database")
        server.halt()
        volumes = sorted((work / "repository").rglob("*.tar.zst"))
        names = "\n".join(map(str, volumes))
        print(f"snapshot of {int(size) / 1e9:.1f} GB in {len(volumes)} volumes, {folder_bytes(work / 'repository') / 1e6:.0f} MB "
              f"stored, {os.cpu_count()} processors")
        print("| what | pgcairn | zstd -t | ratio | target | |\n|---|---|---|---|---|---|")
        for threads in options.threads.split(","):
            ours, theirs = [], []
            for _ in range(options.rounds):
                theirs.append(measure_all(f"printf '%s\\n' '{names}' | xargs -P {threads} -n 1 zstd -tq", env, shell=True))
                ours.append(measure_all([BINARY, "-q", "-c", str(policy), "verify", "bench", "--level", "2", "--jobs",
                                         threads], env))
            for column, what in ((0, "at a time"), (2, "at a time: seconds of processors")):
                row(f"verify --level 2, {threads} {what}", statistics.median(o[column] for o in ours),
                    statistics.median(o[column] for o in theirs), 1.5)
            peak = max(o[1] for o in ours) / 1024
            print(f"| peak memory | {peak:.0f} MB | | | <= 100 MB | {'met' if peak <= 100 else 'MISSED'} |")
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
