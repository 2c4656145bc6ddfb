"""A cluster of which snapshots are taken, and what is restored of them.

    cluster = Cluster("name", store=store)      a server that archives through pgcairn
    snapshot = cluster.snapshot()               its id
    folder = cluster.restore(snapshot, "--immediate")
    copy = cluster.start(folder)                a server on it, once its recovery has ended
    cluster.stop()
"""
import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

from archive import Archive
from pg import BINDIR, HERE, MAJOR, Server, as_user, clean_environment, die_with_parent, end_process, own

JOBS = {"weekly": {"type": "snapshot", "schedule": "0 3 * * sun", "keep": {"within": "90d"}},
        "prune": {"type": "prune", "schedule": "15 5 * * *"}}
APP = HERE / "app.sql"


class Cluster:
    """A server with an archive and the app's database, and what was restored of it."""

    def __init__(self, name="snap", archiving=True, initdb=(), store=None, jobs=None, **config):
        self.server = Server(name, config=config, initdb=initdb)
        self.archive = Archive(self.server, jobs=jobs or JOBS, store=store)
        settings = self.archive.settings(full_page_writes="on")
        if not archiving:
            settings.update(archive_mode="off", archive_command="")
        self.server.configure(**settings)
        self.server.start()
        self.others = []
        self.number = 0

    def fill(self):
        self.server.createdb("app")
        self.server.load("app", APP, scale=1)
        return self

    def folder(self, name="data"):
        """A place for a data directory: it is not there yet."""
        self.number += 1
        parent = self.server.root / f"restored-{self.number}"
        parent.mkdir()
        own(parent, self.server.user)
        return parent / name

    def snapshot(self, **options):
        run = self.archive.run("run", "demo/weekly", json_output=True, **options)
        return run.json["backup_id"] if run.rc == 0 else run

    @property
    def repository(self):
        return self.archive.repository

    @staticmethod
    def key(snapshot, name=""):
        """The key of an object of a snapshot; of its folder without a name."""
        return f"demo/snapshots/{snapshot}/{name}"

    def manifest(self, snapshot):
        return json.loads(self.repository.read(self.key(snapshot, "manifest.json")))

    def fetch(self, snapshot):
        """The backup's folder where no repository is, the server's user's own."""
        place = self.folder("backup")
        place.mkdir()
        self.repository.fetch(self.key(snapshot), place)
        for path in (place, *place.iterdir()):
            own(path, self.server.user)
        return place

    def restore(self, *arguments, folder=None, **options):
        folder = folder or self.folder()
        run = self.archive.run("restore", "snapshot", "demo", *arguments, "--target-dir", folder, **options)
        return run if options.get("expect") else folder

    def script(self, place, *arguments):
        """The backup's own restore.sh, with nothing of ours in reach."""
        return subprocess.run(["sh", place / "restore.sh", *arguments], capture_output=True, check=False, cwd="/",
                              text=True, env={"PATH": "/usr/bin:/bin"}, **as_user(self.server.user))

    def serve(self, folder, name="restored", **settings):
        """A server on a restored data directory: configured, not started. It fetches WAL by itself."""
        made = Server(name, data=folder)
        self.others.append(made)
        made.configure(**settings)
        return made

    def start(self, folder, **settings):
        """The restored cluster as a server of its own, once recovery has ended."""
        copy = self.serve(folder, archive_mode="off", **settings)
        copy.start()
        self.wait_recovered(copy)
        return copy

    @staticmethod
    def wait_recovered(copy, seconds=60):
        try:
            copy.wait_for("select not pg_is_in_recovery()", seconds=seconds, what="the end of recovery")
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\n{copy.log.read_text()[-4000:]}") from None

    def move_to(self, server):
        """That one is the cluster's server from now on."""
        self.archive.server = server
        self.archive.policy["postgres"]["connection"] = server.url()
        self.archive.write()

    def stop(self):
        for other in self.others:
            other.stop()
        self.server.stop()


class Beside:
    """A pgcairn that runs beside the test, to be killed."""

    def __init__(self, archive, *words, output=subprocess.DEVNULL, cwd="/"):
        command = [archive.bin / "pgcairn", "-c", archive.policy_file, *words]
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output,
                                        stderr=subprocess.STDOUT, env=clean_environment(**archive.environment()), cwd=cwd,
                                        preexec_fn=die_with_parent, **as_user(archive.user))

    def kill_after(self, seconds):
        """kill -9 after that time; whether it came before its end."""
        try:
            self.process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            end_process(self.process, signal.SIGKILL)
            return True


def verify(server, folder, *options):
    """pg_verifybackup of a data directory that has not been started. That of another major knows neither its
    WAL nor, since 17, its manifest: then we compare by hand."""
    if (folder / "PG_VERSION").read_text().strip() != str(MAJOR):
        compare_with_manifest(folder, [o for o in options if o != "-i"])
        return
    done = subprocess.run([BINDIR / "pg_verifybackup", "-q", *options, folder], capture_output=True, text=True,
                          check=False, cwd="/", env=clean_environment(), **as_user(server.user))
    assert done.returncode == 0, done.stderr


def compare_with_manifest(folder, ignored):
    """Every file that the server's manifest lists is there, as it says, and no other."""
    listed = {f["Path"]: f for f in json.loads((folder / "backup_manifest").read_text())["Files"]}
    expected = {path: (f["Size"], f["Checksum"]) for path, f in listed.items()}
    found = {}
    for parent, _, names in os.walk(folder, followlinks=True):
        for path in (Path(parent) / name for name in names):
            content = path.read_bytes()
            found[path.relative_to(folder).as_posix()] = (len(content), hashlib.sha256(content).hexdigest())
    free = ("backup_manifest", "postgresql.auto.conf", "recovery.signal", "standby.signal", "pg_wal", *ignored)
    both = [{path: v for path, v in files.items() if path.split("/")[0] not in free} for files in (expected, found)]
    assert both[0] == both[1] and len(both[0]) > 100, sorted(set(both[0].items()) ^ set(both[1].items()))[:20]


def now(server):
    return server.value("postgres", "select to_char(clock_timestamp() at time zone 'UTC', "
                                    "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
