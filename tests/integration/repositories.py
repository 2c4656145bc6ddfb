"""The repository as tests look at it and damage it: a folder or a bucket, with one face.

    repository = FileStore().repository(folder)         or S3Store(service).repository(folder)
    repository.keys("demo/"); repository.read(key); repository.write(key, data); repository.delete(key)
    repository.rewrite(key, change)      change(bytes) -> bytes, or None to delete it
    repository.fetch("demo/dumps/ID", folder)           as a person would, with cp or rclone
"""
import os
import shutil
from pathlib import Path
from uuid import uuid4


class Repository:
    """What both kinds can do in terms of their own keys(), read(), write() and delete()."""

    def rewrite(self, key, change):
        data = change(self.read(key))
        self.delete(key)
        if data is not None:
            self.write(key, data)

    def find(self, name, below=""):
        """Keys below a folder whose last part is name."""
        return [k for k in self.keys(below) if k.rsplit("/", 1)[-1] == name]

    def fetch(self, prefix, folder):
        """Copies what lies below prefix into a folder that is made."""
        prefix = prefix.rstrip("/") + "/"
        for key in self.keys(prefix):
            target = Path(folder) / key.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(key))
        return Path(folder)


class FileRepository(Repository):
    kind = "file"

    def __init__(self, path):
        self.path = Path(path)
        self.url = f"file://{self.path}"
        self.words_when_hidden = (str(self.path), "not a directory")

    def policy(self):
        return {"url": self.url}

    def environment(self):
        return {}

    def keys(self, prefix=""):
        found = (p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        return sorted(k for k in found if k.startswith(prefix))

    def sizes(self, prefix=""):
        return {k: (self.path / k).stat().st_size for k in self.keys(prefix)}

    def read(self, key):
        return (self.path / key).read_bytes()

    def write(self, key, data):
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.chmod(0o600)
        target.write_bytes(data)

    def delete(self, key):
        (self.path / key).unlink()

    def clear(self):
        shutil.rmtree(self.path)

    def hide(self):
        """A file where the folder was: nothing of it can be read, not even by root."""
        if self.path.exists():
            self.path.rename(self.path.with_suffix(".hidden"))
        self.path.write_text("not a folder")

    def show(self):
        self.path.unlink()
        if self.path.with_suffix(".hidden").exists():
            self.path.with_suffix(".hidden").rename(self.path)


class S3Repository(Repository):
    """Below a prefix of its own in the tests' bucket."""
    kind = "s3"

    def __init__(self, service, bucket, prefix):
        self.service, self.bucket, self.prefix = service, bucket, prefix
        self.url = f"s3://{bucket.name}/{prefix}"
        self.secret = service.secret
        self.words_when_hidden = (self.url, "secret_access_key")

    def policy(self):
        return {"url": self.url, "s3": self.service.policy()}

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": self.service.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret,
                "AWS_EC2_METADATA_DISABLED": "true"}

    def sizes(self, prefix=""):
        start = len(self.prefix) + 1
        return {k[start:]: size for k, size in self.bucket.objects(f"{self.prefix}/{prefix}").items()}

    def keys(self, prefix=""):
        return sorted(self.sizes(prefix))

    def read(self, key):
        return self.bucket.get(f"{self.prefix}/{key}")

    def write(self, key, data):
        self.bucket.put(f"{self.prefix}/{key}", data)

    def delete(self, key):
        self.bucket.delete(f"{self.prefix}/{key}")

    def uploads(self):
        """Keys of uploads that were begun and not ended."""
        start = len(self.prefix) + 1
        return sorted(key[start:] for key, _ in self.bucket.uploads(f"{self.prefix}/"))

    def clear(self):
        self.bucket.empty(f"{self.prefix}/")

    def hide(self):
        """Another secret: the service refuses whatever is asked of it."""
        self.secret = "a-secret-that-is-none"

    def show(self):
        self.secret = self.service.secret


class FileStore:
    kind = "file"

    def repository(self, folder):
        return FileRepository(Path(folder) / "repository")


class S3Store:
    kind = "s3"

    def __init__(self, service):
        self.service = service
        self.bucket = service.bucket()
        self.run = f"{os.getpid()}-{uuid4().hex[:8]}"
        self.made = []

    def repository(self, folder):
        repository = S3Repository(self.service, self.bucket, f"{self.run}/{uuid4().hex[:8]}-{Path(folder).name}")
        self.made.append(repository)
        return repository

    def clear(self):
        """Leaves nothing behind in a service that outlives the tests."""
        if not self.service.is_ours:
            for repository in self.made:
                repository.clear()
