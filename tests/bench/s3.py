#!/usr/bin/python3
"""The s3:// store against rclone, and a dump into a bucket against one into a folder, as ratios from
one run on this machine, against Ceph's gateway on this machine or the service of PGCAIRN_TEST_S3_*.

    /usr/bin/python3 tests/bench/s3.py [--megabytes 1000] [--objects 100000] [--scale 2] [--rounds 5]
                                       [--only transfer,list,dump]

Needs a release build (cmake --preset release && ninja -C build/release) and rclone. Every figure is
the median of the rounds; each round runs the rivals one after the other, in turns the one or the
other first. rclone gets the parts and the concurrency that the store has: 8 MiB, four at a time.
"""
import argparse
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from dump import BINARY, CONFIG, TOP, measure, rounds_in_turns, row
from pg import Server, clean_environment
from s3 import Client, Service

STORE_TOOL = os.environ.get("PGCAIRN_STORE_TOOL", str(TOP / "build/release/tests/tools/store_tool"))
MEMORY_KB = 100 * 1024
PUTTERS = 6
SEGMENTS_PER_LOG = 256
OBJECTS_PER_DUMP = 10
RCLONE_UP = ("--s3-chunk-size", "8M", "--s3-upload-cutoff", "8M", "--s3-upload-concurrency", "4")
RCLONE_DOWN = ("--multi-thread-streams", "4")


def layout(count):
    """Keys as a repository has them: mostly WAL by log file, and the objects of dumps."""
    dumps = count // 10 // OBJECTS_PER_DUMP
    for i in range(dumps):
        day = f"2026{i // 28 % 12 + 1:02}{i % 28 + 1:02}T020000Z-{i:04x}"
        for j in range(OBJECTS_PER_DUMP):
            yield f"prod/dumps/{day}/16384/data-{j:04}.tar.zst"
    for i in range(count - dumps * OBJECTS_PER_DUMP):
        log, segment = divmod(i, SEGMENTS_PER_LOG)
        yield f"prod/wal/7300000000000000001/00000001/{log:08X}/{segment:08X}-{i * 2654435761 % 2**64:016x}.zst"


def put_some(client_arguments, bucket, keys):
    client = Client(*client_arguments)
    for key in keys:
        client.request("PUT", bucket, key, body=b"x")


class Bench:
    def __init__(self, service, work, rounds):
        self.service, self.work, self.rounds = service, work, rounds
        self.bucket = service.bucket()
        self.prefix = f"bench-{os.getpid()}"
        self.url = f"s3://{self.bucket.name}/{self.prefix}"
        self.env = clean_environment(**service.environment(), RCLONE_CONFIG=str(work / "rclone.conf"))
        self.env.update({f"RCLONE_CONFIG_S3_{k}": v for k, v in {
            "TYPE": "s3", "PROVIDER": "Ceph" if service.is_ours else "Other", "ENDPOINT": service.endpoint,
            "REGION": service.region, "ACCESS_KEY_ID": service.access_key_id, "SECRET_ACCESS_KEY": service.secret,
            "NO_CHECK_BUCKET": "true"}.items()})
        (work / "rclone.conf").touch()
        self.state = work / "state"
        self.state.mkdir()

    def tool(self, *words):
        ca_file = ["--ca-file", str(self.service.ca_file)] if self.service.ca_file else []
        return measure([STORE_TOOL, "--endpoint", self.service.endpoint, "--region", self.service.region, *ca_file,
                        self.url, *words], self.env)

    def rclone(self, *words):
        ca_file = ["--ca-cert", str(self.service.ca_file)] if self.service.ca_file else []
        return measure(["rclone", *ca_file, *words], self.env)

    def remote(self, key=""):
        return f"s3:{self.bucket.name}/{self.prefix}/{key}"

    def rounds_of(self, *functions):
        return rounds_in_turns(self.rounds, *functions)

    def clear(self):
        self.bucket.empty(f"{self.prefix}/")


def memory_row(what, ours, theirs):
    print(f"| {what} | {ours / 1024:.0f} MB | {theirs / 1024:.0f} MB | {ours / theirs:.2f} | <= {MEMORY_KB // 1024} MB | "
          f"{'met' if ours <= MEMORY_KB else 'MISSED'} |", flush=True)


def bench_transfer(bench, megabytes):
    """One file that does not compress, as volumes are."""
    source, target = bench.work / "source", bench.work / "target"
    with open(source, "wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(10**6))

    def fresh(function):
        """Before each: nothing stored under the key, nothing in the way of the download."""
        def run():
            bench.bucket.delete(f"{bench.prefix}/up")
            target.unlink(missing_ok=True)
            return function()
        return run

    ours, theirs = bench.rounds_of(fresh(lambda: bench.tool("put", "up", str(source))),
                                   fresh(lambda: bench.rclone("copyto", *RCLONE_UP, str(source), bench.remote("up"))))
    row(f"upload of {megabytes} MB, against rclone", ours[0], theirs[0], 1.0)
    memory_row("its peak memory", ours[1], theirs[1])

    # Each downloads what itself has stored: rclone compares MD5s, which it keeps beside the object.
    bench.tool("put", "ours", str(source))
    bench.rclone("copyto", *RCLONE_UP, str(source), bench.remote("theirs"))
    ours, theirs = bench.rounds_of(
        fresh(lambda: bench.tool("get", "ours", str(target))),
        fresh(lambda: bench.rclone("copyto", *RCLONE_DOWN, bench.remote("theirs"), str(target))))
    row(f"download of {megabytes} MB, against rclone", ours[0], theirs[0], 1.0)
    memory_row("its peak memory", ours[1], theirs[1])
    source.unlink()
    target.unlink()


def bench_list(bench, count):
    keys = [f"{bench.prefix}/list/{key}" for key in layout(count)]
    service = bench.service
    arguments = (service.endpoint, service.region, service.access_key_id, service.secret, service.ca_file)
    with ProcessPoolExecutor(PUTTERS) as pool:
        for job in [pool.submit(put_some, arguments, bench.bucket.name, keys[i::PUTTERS]) for i in range(PUTTERS)]:
            job.result()
    ours, plain, fast = bench.rounds_of(
        lambda: bench.tool("list", "list/"), lambda: bench.rclone("lsf", "-R", bench.remote("list")),
        lambda: bench.rclone("lsf", "-R", "--fast-list", bench.remote("list")))
    target = 1 / 1.5
    row(f"list of {count} objects, against rclone lsf -R", ours[0], plain[0], target)
    row(f"list of {count} objects, against rclone lsf -R --fast-list", ours[0], fast[0], target)
    memory_row("its peak memory", ours[1], fast[1])


def bench_dump(bench, server, scale):
    server.createdb("bench")
    server.load("bench", TOP / "tests/bench/data.sql", scale=scale)
    env = {**bench.env, **server.environment(), "STATE_DIRECTORY": str(bench.state)}
    folder = bench.work / "repository"

    def policy(name, url, section=""):
        file = bench.work / f"{name}.yaml"
        file.write_text(f"""cluster: bench
postgres:
  connection: "host={server.socket_dir} port={server.port} user=postgres dbname=postgres"
  databases: [bench]
repository:
  url: {url}
{section}
jobs:
  nightly: {{type: dump, schedule: "0 2 * * *", keep: {{last: 3}}, jobs: 2}}
""")
        file.chmod(0o600)
        return str(file)

    section = "  s3: {" + ", ".join(f'{k}: "{v}"' for k, v in bench.service.policy().items()) + "}"
    policies = {"s3": policy("s3", f"{bench.url}/dump", section), "file": policy("file", f"file://{folder}")}

    def dump(kind):
        def run():
            bench.bucket.empty(f"{bench.prefix}/dump/")
            shutil.rmtree(folder, ignore_errors=True)
            return measure([BINARY, "-q", "-c", policies[kind], "run", "bench/nightly"], env)
        return run

    ours, theirs = bench.rounds_of(dump("s3"), dump("file"))
    row(f"dump into the bucket, against the same into a folder (scale {scale:g})", ours[0], theirs[0], 1.25)
    memory_row("its peak memory", ours[1], theirs[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=100000)
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="transfer,list,dump")
    options = parser.parse_args()
    only = options.only.split(",")
    if not shutil.which("rclone"):
        sys.exit("s3.py: rclone is missing: apt-get install rclone")
    work = Path(tempfile.mkdtemp(prefix="pgcairn-bench-"))
    server = service = bench = None
    try:
        service = Service.from_environment() or Service.start()
        bench = Bench(service, work, options.rounds)
        print("| what | pgcairn | other | ratio | target | |\n|---|---|---|---|---|---|", flush=True)
        if "transfer" in only:
            bench_transfer(bench, options.megabytes)
        if "list" in only:
            bench_list(bench, options.objects)
        if "dump" in only:
            server = Server("bench", CONFIG).start()
            bench_dump(bench, server, options.scale)
    finally:
        if server:
            server.stop()
        if service and not service.is_ours and bench:
            bench.clear()
        if service:
            service.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
