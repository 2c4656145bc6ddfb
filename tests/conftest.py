"""Fixtures for every test that needs a server: tests/integration and tests/faults.

The modules that the tests use (pg, compare, cairn) are in tests/integration.
"""
import os
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "integration"))

from cairn import Workspace  # noqa: E402
from pg import Server  # noqa: E402

ZOO = HERE / "integration/schema.sql"
APP = HERE / "integration/app.sql"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds; left out by run.sh --quick")
    # A terminated run ends as an interrupted one does: fixtures stop their servers.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


@pytest.fixture(scope="session")
def server():
    """One server for the whole session, with the roles of the zoo."""
    cluster = Server("main")
    try:
        cluster.start()
        cluster.load("postgres", HERE / "integration/roles.sql")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def zoo(server):
    """The database of all traps. Tests read it and do not change it."""
    server.createdb("zoo")
    server.load("zoo", ZOO)
    server.load("postgres", HERE / "integration/database.sql", db="zoo")
    return "zoo"


@pytest.fixture(scope="session")
def app(server):
    """The database of an application. Tests read it and do not change it."""
    server.createdb("app")
    server.load("app", APP, scale=1)
    return "app"


@pytest.fixture
def database(server):
    """Makes databases that are dropped after the test: database("name", "sql that fills it")."""
    made = []

    def make(name, sql="", options=()):
        server.createdb(name, *options)
        made.append(name)
        if sql:
            server.psql(name, sql)
        return name

    yield make
    for name in made:
        server.dropdb(name)


@pytest.fixture
def restored(server):
    """A name for a database to restore into; dropped after the test."""
    name = "restored"
    server.dropdb(name)
    yield name
    server.dropdb(name)


@pytest.fixture
def workspace(tmp_path, server):
    """Makes a Workspace below the test's own folder."""
    def make(databases=("app",), name="ws", **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Workspace(folder, options.pop("server", server), databases, **options)

    os.chmod(tmp_path, 0o755)
    return make
