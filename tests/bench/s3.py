#!/usr/bin/python3
"""The S3 store against rclone, and a dump to S3 against the same dump to a folder, as ratios from one
run on this machine, with Ceph's gateway in memory (tests/s3/server.sh).

    /usr/bin/python3 tests/bench/s3.py [--mb 1000] [--objects 100000] [--scale 10] [--rounds 3]
                                       [--only transfer,list,dump]

Needs a release build (cmake --preset release && cmake --build --preset release) and Debian's rclone.
Every figure is the median of the rounds, each round runs the rivals one after the other.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dump
from dump import TOP, measure
from pg import Server, clean_environment
from s3 import Service

TOOL = Path(dump.BINARY).parent.parent / "tests/tools/store_tool"
MEMORY_KB = 100_000


def medians(rounds, *functions):
    """Of (seconds, peak kB), a pair for each function."""
    results = [[] for _ in functions]
    for _ in range(rounds):
        for result, function in zip(results, functions):
            result.append(function())
    return [tuple(statistics.median(column) for column in zip(*result)) for result in results]


def row(what, ours, theirs, ratio, bound, is_met):
    print(f"| {what} | {ours} | {theirs} | {ratio:.2f} | {bound} | {'met' if is_met else 'MISSED'} |", flush=True)


def speed_row(what, ours, theirs, at_least):
    """How much faster than the rival."""
    ratio = theirs[0] / ours[0]
    row(what, f"{ours[0]:.2f} s, {ours[1] / 1000:.0f} MB", f"{theirs[0]:.2f} s, {theirs[1] / 1000:.0f} MB", ratio,
        f">= {at_least:.1f}", ratio >= at_least)


class Rivals:
    def __init__(self, service, bucket, work):
        self.bucket, self.work = bucket, work
        self.tool = [str(TOOL), "--endpoint", service.endpoint, "--region", service.region, f"s3://{bucket.name}"]
        self.env = clean_environment(**service.environment())
        # rclone does not start with a bundle of certificates that it can't read.
        self.rclone_env = {k: v for k, v in self.env.items() if k != "AWS_CA_BUNDLE"}
        self.rclone_env.update({f"RCLONE_CONFIG_S_{name}": value for name, value in (
            ("TYPE", "s3"), ("PROVIDER", "Ceph"), ("ACCESS_KEY_ID", service.access_key_id),
            ("SECRET_ACCESS_KEY", service.secret), ("ENDPOINT", service.endpoint))}, RCLONE_CONFIG=str(work / "none"))

    def ours(self, *arguments):
        return measure([*self.tool, *map(str, arguments)], self.env)

    def rclone(self, *arguments):
        return measure(["rclone", *map(str, arguments)], self.rclone_env)

    def remote(self, key):
        return f"s:{self.bucket.name}/{key}"


def bench_transfer(rivals, megabytes, rounds):
    source, target = rivals.work / "source", rivals.work / "target"
    with open(source, "wb") as out:
        for _ in range(megabytes):
            out.write(os.urandom(1_000_000))
    up = medians(rounds, lambda: rivals.ours("put", "ours", source),
                 lambda: rivals.rclone("copyto", "--s3-chunk-size", "8M", "--s3-upload-concurrency", "4", source,
                                       rivals.remote("theirs")))
    speed_row(f"upload of {megabytes} MB", *up, 1.0)

    def download(function):
        target.unlink(missing_ok=True)
        return function()
    down = medians(rounds, lambda: download(lambda: rivals.ours("get", "ours", target)),
                   lambda: download(lambda: rivals.rclone("copyto", "--multi-thread-streams", "4", rivals.remote("ours"),
                                                          target)))
    speed_row(f"download of {megabytes} MB", *down, 1.0)
    for what, (_, peak) in (("upload", up[0]), ("download", down[0])):
        row(f"memory of the {what}", f"{peak / 1000:.0f} MB", "", peak / MEMORY_KB, f"<= {MEMORY_KB / 1000:.0f} MB",
            peak <= MEMORY_KB)
    source.unlink()
    target.unlink(missing_ok=True)


def archive_key(number):
    """As WAL is laid out: SYSID/TLI/LOG/SEGMENT."""
    log, segment = divmod(number, 256)
    return f"list/demo/wal/7391234567890123456/00000001/{log:08X}/00000001{log:08X}{segment:08X}-0123456789abcdef.zst"


def bench_list(rivals, objects, rounds):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: rivals.bucket.put(archive_key(i), b""), range(objects)))
    ours, plain, fast = medians(rounds, lambda: rivals.ours("list", "list/"),
                                lambda: rivals.rclone("lsf", "-R", rivals.remote("list")),
                                lambda: rivals.rclone("lsf", "-R", "--fast-list", rivals.remote("list")))
    speed_row(f"list of {objects} objects", ours, plain, 1.5)
    speed_row(f"list of {objects} objects, rclone --fast-list", ours, fast, 1.5)


class S3Bench(dump.Bench):
    """A dump of one database by two policies."""

    def __init__(self, server, work, rivals, service):
        super().__init__(server, work, 1)
        self.rivals, self.service = rivals, service
        self.env.update(service.environment())

    def dump_to_s3(self, database):
        self.rivals.bucket.empty("dumps/")
        file = Path(self.policy(database, 2))
        folder_line = f'repository: {{url: "file://{self.work}/repo"}}'
        text = file.read_text()
        assert folder_line in text
        file = file.with_suffix(".s3.yaml")
        file.write_text(text.replace(folder_line, (
            f'repository: {{url: "s3://{self.rivals.bucket.name}/dumps", s3: {{endpoint: "{self.service.endpoint}", '
            f'region: {self.service.region}}}}}')))
        return measure([dump.BINARY, "-q", "-c", str(file), "run", "bench/nightly"], self.env)


def bench_dump(rivals, service, scale, rounds):
    server = Server("bench", dump.CONFIG).start()
    try:
        server.createdb("mixed")
        server.load("mixed", TOP / "tests/bench/data.sql", scale=scale)
        bench = S3Bench(server, rivals.work, rivals, service)
        ours, folder = medians(rounds, lambda: bench.dump_to_s3("mixed"), lambda: bench.dump("mixed"))
        ratio = ours[0] / folder[0]
        row("dump to S3, against one to a folder", f"{ours[0]:.2f} s", f"{folder[0]:.2f} s", ratio, "<= 1.25", ratio <= 1.25)
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=100000)
    parser.add_argument("--scale", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="transfer,list,dump")
    options = parser.parse_args()
    only = options.only.split(",")
    if not TOOL.exists():
        sys.exit(f"{TOOL} is not built: cmake --preset release && cmake --build --preset release")
    work = Path(tempfile.mkdtemp(prefix="pgcairn-bench-"))
    service = Service.start()
    try:
        rivals = Rivals(service, service.bucket("bench"), work)
        print("| what | pgcairn | other | ratio | target | |\n|---|---|---|---|---|---|", flush=True)
        if "transfer" in only:
            bench_transfer(rivals, options.mb, options.rounds)
        if "list" in only:
            bench_list(rivals, options.objects, options.rounds)
        if "dump" in only:
            bench_dump(rivals, service, options.scale, options.rounds)
    finally:
        service.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
