"""A server that archives its WAL through pgcairn, and servers that recover from there.

    archive = Archive(server, store=store)    a policy, repository and state folder that the server may use
    server.configure(**archive.settings()); server.start()
    archive.run("wal", "push", "demo", "pg_wal/...", expect=1)       as the server would: its user, its folder
    archive.segments()                        {name of a WAL file: [the keys of its objects]}
    copy = archive.recover(base)              a copy that was made before, recovering from the archive

Everything lies in the server's own folder, because the server's user must reach it; a bucket's keys in
a file of that user, as they would.
"""
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cairn import BINARY, JOBS, Run, check_run, zstd_plain
from pg import Server, as_user, clean_environment, own, server_user, wait_until
from repositories import FileStore

TIMEOUT = 120
OBJECT = re.compile(r"(?:[^/]+/){4,}(.+)-([0-9a-f]{16})\.zst")


def hex_name(timeline, number, size=16 << 20):
    per_log = (1 << 32) // size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


class Archive:
    """repository: that of another archive; else one of its own, in a store of that kind."""

    def __init__(self, server, cluster="demo", repository=None, connection=None, jobs=None, name="archive", store=None):
        self.server = server
        self.cluster = cluster
        self.user = server_user()
        self.root = server.root / name
        self.root.mkdir()
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for program in (BINARY, BINARY.with_name("pgcairn-wal")):
            shutil.copy(program, self.bin / program.name)
        self.state = self.root / "state"
        self.state.mkdir()
        self.repository = repository or (store or FileStore()).repository(self.root)
        self.credentials = self.root / "credentials"
        self.policy_file = self.root / "policy.yaml"
        self.policy = {"cluster": cluster, "postgres": {"connection": connection or server.url()},
                       "repository": self.repository.policy(), "defaults": {"retries": 0},
                       "jobs": copy.deepcopy(jobs or {"nightly": JOBS["nightly"]})}
        self.write()
        self.write_credentials()
        for path in (self.root, self.state):
            own(path, self.user)

    def write(self):
        self.policy_file.write_text(json.dumps(self.policy, indent=2))
        os.chmod(self.policy_file, 0o600)
        own(self.policy_file, self.user)

    def write_credentials(self):
        given = self.repository.environment()
        if not given:
            return
        self.credentials.write_text(f"[default]\naws_access_key_id = {given['AWS_ACCESS_KEY_ID']}\n"
                                    f"aws_secret_access_key = {given['AWS_SECRET_ACCESS_KEY']}\n")
        os.chmod(self.credentials, 0o600)
        own(self.credentials, self.user)

    def hide(self):
        """From now on the repository can't be read; show() ends it."""
        self.repository.hide()
        self.write_credentials()

    def show(self):
        self.repository.show()
        self.write_credentials()

    def environment(self):
        given = {"AWS_SHARED_CREDENTIALS_FILE": str(self.credentials), "AWS_EC2_METADATA_DISABLED": "true"}
        return {"STATE_DIRECTORY": str(self.state), **(given if self.credentials.exists() else {})}

    def command(self, words):
        given = " ".join(f"{name}={value}" for name, value in self.environment().items())
        return f"{given} {self.bin}/pgcairn-wal -c {self.policy_file} {words}"

    def settings(self, **more):
        return {"archive_mode": "on", "wal_level": "replica", "max_wal_senders": 5,
                "archive_command": self.command(f"push {self.cluster} %p"), **more}

    def run(self, *arguments, expect=0, cwd=None, program="pgcairn", timeout=TIMEOUT, json_output=False):
        """Runs pgcairn as the server's user in its data directory. expect None: any exit status."""
        words = [self.bin / program, "-c", self.policy_file, *(["--json"] if json_output else []), *arguments]
        done = subprocess.run(list(map(str, words)), cwd=cwd or self.server.data, capture_output=True, check=False,
                              timeout=timeout, env=clean_environment(**self.environment()),
                              **as_user(self.user))
        run = Run(words, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
        check_run(run, expect)
        return run

    def push(self, name, expect=0, **options):
        return self.run("wal", "push", self.cluster, f"pg_wal/{name}", expect=expect, **options)

    def fetch(self, name, destination, *options, expect=0, **more):
        return self.run("wal", "fetch", self.cluster, name, destination, *options, expect=expect, **more)

    def segments(self):
        found = {}
        for key in self.repository.keys(f"{self.cluster}/wal/"):
            if key.endswith(".zst"):
                found.setdefault(OBJECT.fullmatch(key).group(1), []).append(key)
        return found

    def switch(self, seconds=60):
        """Ends the segment; waits until it was archived. Returns its name."""
        name = self.server.psql("postgres", "select pg_create_restore_point('x'); "
                                            "select pg_walfile_name(pg_switch_wal())").split("\n")[-1]
        self.wait_archived(name, seconds)
        return name

    def wait_archived(self, name, seconds=60):
        done = self.server.data / "pg_wal/archive_status" / f"{name}.done"
        wait_until(lambda: done.exists() or name in self.segments(), seconds, f"{name} was archived")
        wait_until(done.exists, seconds, f"{name} is done for the server")

    def plain(self, name):
        """A stored file's bytes, read by zstd alone."""
        (key,) = self.segments()[name]
        return zstd_plain(self.repository.read(key))

    def copy(self, name="copy"):
        """A base backup of the server without WAL, for recover()."""
        return Server(name, origin=self.server, config={"archive_mode": "off"})

    def recover(self, copy, standby=False, options="", start=True, **settings):
        """Starts the copy in recovery: to the end of WAL, or as a standby."""
        fetch = f"fetch {self.cluster} %f %p{' --standby' if standby else ''}{options}"
        settings = {"hot_standby": "on" if standby else "off", **settings}
        copy.configure(restore_command=self.command(fetch), archive_command="false", **settings)
        marker = copy.data / ("standby.signal" if standby else "recovery.signal")
        marker.touch()
        own(marker, self.user)
        return copy.start() if start else copy

    def own_processes(self, command=""):
        """Ids of the pgcairn processes of this archive, or of those that run that command."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(self.policy_file).encode() in words and not words[0].endswith(b"sh") and (
                    not command or command.encode() in words):
                found.append(int(folder.name))
        return found

    def kill_one(self, command=""):
        """kill -9 of one of them; whether there was one."""
        for pid in self.own_processes(command):
            try:
                os.kill(pid, signal.SIGKILL)
                return True
            except ProcessLookupError:
                pass
        return False


def scratch():
    """A folder that the server's user may write into."""
    folder = Path(tempfile.mkdtemp(prefix="pgcairn-wal-"))
    os.chmod(folder, 0o755)
    own(folder, server_user())
    return folder
