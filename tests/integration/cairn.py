"""Running pgcairn from tests: the program, a policy, a repository, a state folder of its own.

    ws = Workspace(tmp_path, server, databases=["app"])      writes ws.policy_file; ws.repository is
                                                             a folder or a bucket (repositories.py)
    run = ws.run("run", "demo/nightly")                      fails the test unless it exits 0
    run = ws.run("list", json=True, expect=0)                run.json is the document
    ws.good_backups()                                        what `list` calls good
"""
import copy
import io
import json as jsonlib
import os
import re
import signal
import subprocess
import tarfile
from pathlib import Path

from pg import PASSWORD, clean_environment, die_with_parent, end_process
from repositories import FileStore
from s3 import SECRET

TOP = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PGCAIRN_BINARY", TOP / "build/dev/src/pgcairn"))
TIMEOUT = 180
CLUSTER = "demo"
SECRETS = (PASSWORD, "zoo-secret-password", "fdw-secret", os.environ.get("PGCAIRN_TEST_S3_SECRET_ACCESS_KEY") or SECRET)

JOBS = {
    "nightly": {"type": "dump", "schedule": "0 2 * * *", "keep": {"within": "30d", "last": 3}, "jobs": 2},
    "tidy": {"type": "vacuum", "schedule": "30 4 * * sun", "analyze": True, "budget": "10m"},
    "prune": {"type": "prune", "schedule": "15 5 * * *"},
}


class Run:
    """A finished pgcairn: exit status, stdout and stderr, both as text."""

    def __init__(self, command, rc, out, err):
        self.command, self.rc, self.out, self.err = command, rc, out, err

    @property
    def json(self):
        """The one document on stdout."""
        try:
            return jsonlib.loads(self.out)
        except ValueError as wrong:
            raise AssertionError(f"stdout is not one JSON document ({wrong}):\n{self}") from None

    def __str__(self):
        return (f"$ {' '.join(map(str, self.command))}\nexit status {self.rc}\n"
                f"--- stdout\n{self.out[-6000:]}\n--- stderr\n{self.err[-6000:]}")


def binary_command(arguments):
    assert BINARY.exists(), f"{BINARY} is not built: sh tests/run.sh builds it"
    return [str(BINARY), *map(str, arguments)]


def run_pgcairn(*arguments, expect=0, env=None, timeout=TIMEOUT, cwd=None, stdin=None, prefix=()):
    """Runs pgcairn to its end. expect: the exit status, or several, or None for any."""
    command = [*prefix, *binary_command(arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=clean_environment(**(env or {})), cwd=cwd,
                               start_new_session=True)
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s: {command}\n{err.decode(errors='replace')[-3000:]}") from None
    run = Run(command, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    check_run(run, expect)
    return run


def check_run(run, expect):
    """The exit status, and what must hold of every run: no crash, no sanitizer report, no secret."""
    if expect is not None:
        wanted = (expect,) if isinstance(expect, int) else expect
        assert run.rc in wanted, f"expected exit status {expect}:\n{run}"
    assert run.rc >= 0 and run.rc not in (99, 134, 139), f"crashed:\n{run}"
    assert "Sanitizer" not in run.err and "runtime error" not in run.err, str(run)
    for secret in SECRETS:
        assert secret not in run.err, f"a secret was shown:\n{run}"


def assert_error(run, *words):
    """One error with cause and cure: "pgcairn: ..." then "  hint: ...", holding all the words."""
    lines = run.err.splitlines()
    errors = [i for i, line in enumerate(lines) if line.startswith("pgcairn: ")]
    assert errors, f"no line begins with \"pgcairn: \":\n{run}"
    text = "\n".join(lines[errors[0]:])
    for word in words:
        assert word.lower() in text.lower(), f"the error does not say {word!r}:\n{run}"
    assert any(line.startswith("  hint: ") for line in lines), f"the error has no hint:\n{run}"


class Workspace:
    """A policy file with its repository and state folder; every call of pgcairn gets all three."""
    prefix = ()  # what start() puts before the program: "ip netns exec NAME"

    def __init__(self, folder, server, databases=("app",), jobs=None, connection=None, store=None, **policy):
        self.folder = Path(folder)
        self.server = server
        self.repository = (store or FileStore()).repository(self.folder)
        self.state = self.folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.policy_file = self.folder / "policy.yaml"
        self.policy = {
            "cluster": CLUSTER,
            "timezone": "UTC",
            "postgres": {"connection": connection or server.url(databases[0] if databases else "postgres"),
                         **({"databases": list(databases)} if databases else {}),
                         "max_connections": 8},
            "repository": self.repository.policy(),
            "defaults": {"retries": 0},
            "jobs": copy.deepcopy(jobs or JOBS),
        }
        for section, values in policy.items():
            if isinstance(values, dict):
                self.policy.setdefault(section, {}).update(values)
            else:
                self.policy[section] = values
        self.write()

    def write(self):
        """JSON is YAML; one key per line, so that messages have useful line numbers."""
        self.policy_file.write_text(jsonlib.dumps(self.policy, indent=2, ensure_ascii=False), encoding="utf-8")
        os.chmod(self.policy_file, 0o600)

    def environment(self, env=None):
        return {"STATE_DIRECTORY": str(self.state), "HOME": str(self.folder), **self.repository.environment(), **(env or {})}

    def arguments(self, arguments, json=False):
        return ["-c", self.policy_file, *(["--json"] if json else []), *arguments]

    def run(self, *arguments, json=False, env=None, **options):
        return run_pgcairn(*self.arguments(arguments, json), env=self.environment(env), **options)

    def start(self, *arguments, json=False, env=None):
        """Starts pgcairn and does not wait; use it as a context manager."""
        return Started(self.arguments(arguments, json), self.environment(env), self.prefix)

    def dump(self, job="nightly", **options):
        """Runs a dump job; returns the id of its backup."""
        return self.run("run", f"{CLUSTER}/{job}", json=True, **options).json["backup_id"]

    def list(self):
        return self.run("list", json=True).json["backups"]

    def good_backups(self):
        return [b["id"] for b in self.list() if b["state"] == "good"]

    def backup_key(self, backup, name=""):
        """The key of an object of a backup; of its folder without a name."""
        return f"{CLUSTER}/dumps/{backup}/{name}"

    def fetch_backup(self, backup, folder):
        """The backup's folder, copied to where no repository is."""
        return self.repository.fetch(self.backup_key(backup), folder)

    def manifest(self, backup):
        return jsonlib.loads(self.repository.read(self.backup_key(backup, "manifest.json")))

    def volumes(self, backup):
        """The keys of a dump's volumes."""
        return [k for k in self.repository.keys(self.backup_key(backup)) if re.search(r"/data-\d+\.tar\.zst$", k)]


class Started:
    """A pgcairn that runs beside the test. Its output goes to files, so it never blocks on a pipe."""

    def __init__(self, arguments, env, prefix=()):
        self.command = [*prefix, *binary_command(arguments)]
        self.folder = Path(env["STATE_DIRECTORY"]).parent
        count = len(list(self.folder.glob("started-*.err")))
        self.out_file = self.folder / f"started-{count}.out"
        self.err_file = self.folder / f"started-{count}.err"
        with open(self.out_file, "wb") as out, open(self.err_file, "wb") as err:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                env=clean_environment(**env), start_new_session=True, preexec_fn=die_with_parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            end_process(self.process, signal.SIGTERM, 10)
        # What a killed pgcairn may have left: its own process group, and only that.
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    @property
    def err(self):
        return self.err_file.read_text(errors="replace")

    @property
    def out(self):
        return self.out_file.read_text(errors="replace")

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, expect=0, seconds=TIMEOUT):
        try:
            rc = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end after {seconds} s: {self.command}\n{self.err[-3000:]}") from None
        run = Run(self.command, rc, self.out, self.err)
        check_run(run, expect)
        return run


def zstd_plain(data):
    """What zstd alone makes of a stored object."""
    return subprocess.run(["zstd", "-dcq"], input=data, check=True, stdout=subprocess.PIPE).stdout


def tar_members(volume):
    """{member name: bytes} of a volume's bytes, read by zstd and tar alone."""
    plain = zstd_plain(volume)
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
