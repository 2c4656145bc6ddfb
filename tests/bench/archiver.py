#!/usr/bin/python3
"""What a server's archiver does, with a clock: each file that is ready, in order, through a shell to
the archive command, then it is named done.

    archiver.py FOLDER COMMAND [--calls N]      FOLDER is the data directory; %p stands in COMMAND

With --calls the last file that is ready is asked for N times, and none is named done. The result is
JSON: {"seconds": of all, "calls": [seconds of each]}.
"""
import argparse
import json
import os
import sys
import time


def call(command):
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(f"{command}: exit status {status}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("command")
    parser.add_argument("--calls", type=int, default=0)
    options = parser.parse_args()
    os.chdir(options.folder)
    status = "pg_wal/archive_status"
    names = sorted(f.removesuffix(".ready") for f in os.listdir(status) if f.endswith(".ready"))
    if options.calls:
        names = [names[-1]] * options.calls
    calls, begun = [], time.monotonic()
    for name in names:
        before = time.monotonic()
        call(options.command.replace("%p", f"pg_wal/{name}"))
        if not options.calls:
            os.rename(f"{status}/{name}.ready", f"{status}/{name}.done")
        calls.append(time.monotonic() - before)
    print(json.dumps({"seconds": time.monotonic() - begun, "calls": calls}))


if __name__ == "__main__":
    main()
