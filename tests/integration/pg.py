"""A real, throw-away PostgreSQL server, and what the tests ask of it. Standard library only.

    server = Server("main").start()      initdb in a folder of its own under $TMPDIR, started
    server.psql("app", "select 1")       rows as text, psql run with -X -A -t and ON_ERROR_STOP
    server.stop()                        always: ends the processes by their ids, removes the folder

PostgreSQL refuses to run as root, so a root caller's server runs as the user postgres (or nobody).
It listens on a private socket folder, without passwords, and on a free port of 127.0.0.1, with
SCRAM. Speed before durability: fsync is off. Should the tests die, the kernel ends the server.

The newest PostgreSQL installed is used. PGCAIRN_TEST_SERVER=FOLDER takes the server's programs, not
the clients', from FOLDER/bin and its shared files from FOLDER/share/postgresql: another version, of
which nothing else is at hand.
"""
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
MAJOR = max((int(p.parents[1].name) for p in Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")), default=15)
BINDIR = Path(f"/usr/lib/postgresql/{MAJOR}/bin")
SHAREDIR = Path(f"/usr/share/postgresql/{MAJOR}")
PASSWORD = "correct-horse"
START_SECONDS = 60
PR_SET_PDEATHSIG = 1

# How rows are made text when two databases are compared: the same on both sides.
SESSION = """
set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; set extra_float_digits = 3;
set timezone = 'UTC'; set bytea_output = 'hex'; set search_path = ''; set row_security = off;
set statement_timeout = 0; set lc_monetary = 'C'; set client_min_messages = warning;
"""


def clean_environment(**extra):
    """The caller's environment without what would steer libpq, S3 clients or pgcairn, in a neutral locale."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "AWS_", "LC_", "LANG"))}
    env.pop("STATE_DIRECTORY", None)
    env.update(LC_ALL="C.UTF-8", TZ="UTC", **extra)
    return env


def server_user():
    """None when the server may run as the caller; else the name of an unprivileged user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    raise RuntimeError("no unprivileged user to run PostgreSQL as")


def as_user(user):
    """Keyword arguments of subprocess that start a child as that user."""
    if not user:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def die_with_parent():
    """Between fork and exec: a killed test run must not leave servers behind."""
    ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own(path, user):
    if user:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def end_process(process, first=signal.SIGTERM, seconds=30):
    """Ends a child that we started: kindly, then for certain."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)


def quote_identifier(name):
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def private_install(root):
    """A copy of the server's programs and shared files in which a test may place an extension.

    PostgreSQL finds its folders relative to its own program, so nothing of the system is touched.
    Returns the folders of both.
    """
    other = os.environ.get("PGCAIRN_TEST_SERVER")
    if other:
        prefix, programs, shared = root, Path(other) / "bin", Path(other) / "share/postgresql"
        sharedir = prefix / "share/postgresql"
    else:
        prefix, programs, shared = root / f"lib/postgresql/{MAJOR}", BINDIR, SHAREDIR
        sharedir = root / f"share/postgresql/{MAJOR}"
    bindir = prefix / "bin"
    bindir.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(programs / name, bindir / name)
    (prefix / "lib").symlink_to(programs.parent / "lib")
    shutil.copytree(shared, sharedir)
    for file in (HERE / "extension").iterdir():
        shutil.copy(file, sharedir / "extension" / file.name)
    return bindir, sharedir


class Server:
    """One PostgreSQL server. The superuser is postgres; the folder is gone after stop()."""

    def __init__(self, name="main", config=None, port=None, initdb=(), origin=None, data=None):
        """initdb: further options of it. origin: a server to make a copy of, without its WAL. data: a data
        directory that was restored."""
        self.name = name
        self.config = config or {}
        self.port = port or free_port()
        self.user = server_user()
        self.root = Path(tempfile.mkdtemp(prefix=f"pgcairn-{name}-"))
        self.data = self.root / "data"
        self.socket_dir = self.root / "s"
        self.log = self.root / "log"
        self.process = None
        os.chmod(self.root, 0o755)
        own(self.root, self.user)
        self.bindir, self.sharedir = private_install(self.root / "install")
        self.socket_dir.mkdir()
        own(self.socket_dir, self.user)
        if data:
            self.data = Path(data)
        elif origin:
            self._copy(origin)
        else:
            self._initdb(initdb)
        self.configure(listen_addresses="127.0.0.1", port=self.port, unix_socket_directories=self.socket_dir,
                       **self.config)

    def _copy(self, origin):
        subprocess.run([BINDIR / "pg_basebackup", "-D", self.data, "-X", "none", "-c", "fast", "--no-sync"],
                       check=True, env=origin.environment(), cwd="/", stderr=subprocess.DEVNULL,
                       **as_user(self.user))

    def configure(self, **settings):
        """Settings for the next start."""
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            for key, value in settings.items():
                text = str(value).replace("'", "''")
                conf.write(f"{key} = '{text}'\n")

    def _initdb(self, options):
        pwfile = self.root / "pwfile"
        pwfile.write_text(PASSWORD + "\n")
        own(pwfile, self.user)
        subprocess.run(
            [self.bindir / "initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8",
             "--locale=C.UTF-8", "--no-sync", "--auth-local=trust",
             "--auth-host=scram-sha-256", "--pwfile", pwfile, *options],
            check=True, stdout=subprocess.DEVNULL, env=clean_environment(), cwd="/",
            **as_user(self.user))
        pwfile.unlink()
        self.configure(fsync="off", full_page_writes="off", synchronous_commit="off", shared_buffers="64MB",
                       max_connections=50, max_prepared_transactions=5, autovacuum="off", jit="off",
                       timezone="UTC", log_line_prefix="%m [%p] %a ", max_locks_per_transaction=256)

    def start(self):
        self.log.touch()
        own(self.log, self.user)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.bindir / "postgres", "-D", self.data], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, env=clean_environment(), cwd="/", preexec_fn=die_with_parent,
                start_new_session=True, **as_user(self.user))
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run([BINDIR / "pg_isready", "-q", "-h", self.socket_dir, "-p",
                              str(self.port)], env=clean_environment(), check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def halt(self):
        """Stops the server; it can be started again."""
        if self.process:
            end_process(self.process, signal.SIGINT)
            self.process = None

    def stop(self):
        self.halt()
        shutil.rmtree(self.root, ignore_errors=True)

    def url(self, database="postgres", user="postgres", password=None, host=None):
        """A connection URI; over TCP when a password is given."""
        database = quote(database, safe="")
        if password is not None:
            return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"
        return f"postgresql:///{database}?host={host or self.socket_dir}&port={self.port}&user={user}"

    def environment(self, database="postgres", user="postgres"):
        return clean_environment(PGHOST=str(self.socket_dir), PGPORT=str(self.port), PGUSER=user,
                                 PGDATABASE=database)

    def program(self, name, *arguments, database="postgres", user="postgres", **options):
        """Runs a client program of PostgreSQL; its output as text. Raises when it fails."""
        done = subprocess.run([BINDIR / name, *arguments], env=self.environment(database, user),
                              capture_output=True, check=False, **options)
        if done.returncode != 0:
            raise AssertionError(f"{name} {arguments}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace")

    def psql(self, database, sql, user="postgres", variables=None):
        """Runs SQL text; returns unaligned rows without the final newline."""
        flags = [f"--set={k}={v}" for k, v in (variables or {}).items()]
        out = self.program("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *flags, "-f", "-",
                           database=database, user=user, input=sql.encode())
        return out[:-1] if out.endswith("\n") else out

    def value(self, database, sql):
        return self.psql(database, sql)

    def json(self, database, query, prepare=""):
        """The rows of a query as a list of objects."""
        text = self.psql(database, f"{SESSION} {prepare} select coalesce(json_agg(pgcairn_r), '[]') "
                                   f"from ({query}) pgcairn_r")
        return json.loads(text)

    def load(self, database, file, **variables):
        self.psql(database, Path(file).read_text(encoding="utf-8"), variables=variables)

    def createdb(self, name, *options):
        self.program("createdb", "-T", "template0", *options, name)
        return name

    def dropdb(self, name):
        self.program("dropdb", "--if-exists", "--force", name)

    def databases(self):
        return [r["datname"] for r in self.json("postgres", "select datname from pg_database")]

    def session(self, database, user="postgres"):
        return Session(self, database, user)

    def wait_for(self, sql, database="postgres", seconds=30, what=None):
        """Waits until a query says 't'."""
        wait_until(lambda: self.value(database, sql) == "t", seconds, what or sql)


def wait_until(condition, seconds=30, what="condition"):
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.05)


class Session:
    """A psql that stays connected, to hold a transaction or a lock while something else runs."""

    def __init__(self, server, database, user="postgres"):
        self.process = subprocess.Popen(
            [BINDIR / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=server.environment(database, user))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, sql):
        """Starts a statement and does not wait for its end."""
        self.process.stdin.write(sql + ";\n")
        self.process.stdin.flush()

    def execute(self, sql):
        """Runs a statement to its end; returns its rows."""
        mark = "pgcairn-statement-ended"
        self.send(sql)
        self.process.stdin.write(f"\\echo {mark}\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line.rstrip("\n") == mark:
                return "".join(lines).rstrip("\n")
            lines.append(line)
        raise AssertionError(f"the session ended: {''.join(lines)}")

    def backend_pid(self):
        return int(self.execute("select pg_backend_pid()"))

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                end_process(self.process, signal.SIGINT, 5)
        self.process.stdout.close()
