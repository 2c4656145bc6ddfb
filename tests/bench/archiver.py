#!/usr/bin/python3
"""What a server's archiver does, with a clock: each file that is ready, in order, through a shell to
the archive command, then it is named done.

    archiver.py FOLDER COMMAND [--calls N]      FOLDER is the data directory; %p stands in COMMAND

With --calls the last file that is ready is asked for N times, and none is named done. The result is
JSON: {"seconds": of all, "cpu": seconds of processors that the calls and what they left in the
background took, "calls": [seconds of each]}.
"""
import argparse
import ctypes
import json
import os
import resource
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def wait_for_all():
    """For the orphans of what was called as well: they have become our children."""
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


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
    ctypes.CDLL("libc.so.6").prctl(PR_SET_CHILD_SUBREAPER, 1)
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
    seconds = time.monotonic() - begun
    wait_for_all()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "calls": calls}))


if __name__ == "__main__":
    main()
