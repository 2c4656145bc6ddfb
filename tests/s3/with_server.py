#!/usr/bin/python3
"""Runs a command beside an S3 server: with_server.py COMMAND [ARGUMENT]...

The command finds it by PGCAIRN_TEST_S3_*, with the bucket made. Where these name a service already,
that one is used. The exit status is the command's.
"""
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from s3 import Service  # noqa: E402


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    service = Service.from_environment() or Service.start()
    try:
        service.bucket()
        return subprocess.run(sys.argv[1:], env={**os.environ, **service.variables()}, check=False).returncode
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main())
