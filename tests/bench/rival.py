"""Debian's pgbackrest, as the benches of snapshots and WAL use it: as the server's user, two
processes, zstd, its WAL asynchronously; configuration, repository, spool and logs in a folder of its
own. Its S3 needs TLS, so the service must have a certificate.

    rival = PgBackRest(server, repository, level=1)      repository: of repositories.py
    server.configure(archive_command=rival.push_command())
    rival.run("stanza-create"); rival.measure("backup", "--type=full"); rival.clear()
"""
import os
import shutil
import subprocess

from dump import measure
from pg import as_user, clean_environment, own

STANZA = "bench"
PROCESSES = 2


class PgBackRest:
    def __init__(self, server, repository, level):
        self.server, self.repository = server, repository
        self.root = server.root / "pgbackrest"
        folders = [self.root, *(self.root / name for name in ("log", "lock", "spool"))]
        for folder in folders + ([repository.path] if repository.kind == "file" else []):
            folder.mkdir()
            own(folder, server.user)
        self.config = self.root / "pgbackrest.conf"
        self.config.write_text("\n".join([
            "[global]", *self._repository(), f"log-path={self.root}/log", f"lock-path={self.root}/lock",
            f"spool-path={self.root}/spool", "log-level-console=warn", "log-level-file=off", "log-timestamp=n",
            f"process-max={PROCESSES}", "compress-type=zst", f"compress-level={level}", "archive-async=y",
            "start-fast=y", f"[{STANZA}]", f"pg1-path={server.data}", f"pg1-port={server.port}",
            f"pg1-socket-path={server.socket_dir}", "pg1-user=postgres", ""]))
        os.chmod(self.config, 0o600)
        own(self.config, server.user)

    def _repository(self):
        if self.repository.kind == "file":
            return [f"repo1-path={self.repository.path}"]
        service = self.repository.service
        host, port = service.address
        return ["repo1-type=s3", f"repo1-path=/{self.repository.prefix}", f"repo1-s3-bucket={self.repository.bucket.name}",
                f"repo1-s3-endpoint={host}", f"repo1-storage-port={port}", "repo1-s3-uri-style=path",
                f"repo1-storage-ca-file={service.ca_file}", f"repo1-s3-region={service.region}",
                f"repo1-s3-key={service.access_key_id}", f"repo1-s3-key-secret={service.secret}"]

    def words(self, *arguments):
        return ["pgbackrest", f"--config={self.config}", f"--stanza={STANZA}", *map(str, arguments)]

    def push_command(self):
        return " ".join(self.words("archive-push", "%p"))

    def options(self):
        return {"env": clean_environment(), "cwd": "/", **as_user(self.server.user)}

    def run(self, *arguments):
        done = subprocess.run(self.words(*arguments), capture_output=True, text=True, check=False, **self.options())
        if done.returncode:
            raise RuntimeError(f"pgbackrest {arguments}: {done.stdout}{done.stderr}")

    def measure(self, *arguments):
        return measure(self.words(*arguments), **self.options())

    def stored(self, below):
        """The bytes below backup/bench or archive/bench."""
        return sum(self.repository.sizes(f"{below}/{STANZA}/").values())

    def clear(self, below):
        """Removes the folders below backup/bench or archive/bench, and the spool; what describes the stanza stays."""
        prefix = f"{below}/{STANZA}/"
        inner = [k for k in self.repository.keys(prefix) if "/" in k.removeprefix(prefix)]
        if self.repository.kind == "file":
            for name in {k.removeprefix(prefix).split("/")[0] for k in inner}:
                shutil.rmtree(self.repository.path / prefix / name)
        else:
            self.repository.bucket.delete_many(f"{self.repository.prefix}/{k}" for k in inner)
        shutil.rmtree(self.root / "spool" / "archive", ignore_errors=True)
