"""Fixtures for every test that needs a server: tests/integration and tests/faults.

The modules that the tests use (pg, compare, cairn, repositories, s3) are in tests/integration.

A test that goes through a repository runs once per kind of store: its fixtures (workspace, or a
Workspace of the module's own) ask for the fixture "store", which has a parameter of that name.
@pytest.mark.stores("file") narrows it where the other kind would add nothing.
"""
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "integration"))

from cairn import Workspace  # noqa: E402
from pg import Server  # noqa: E402
from repositories import FileStore, S3Store  # noqa: E402
from s3 import Service  # noqa: E402

ZOO = HERE / "integration/schema.sql"
APP = HERE / "integration/app.sql"
STORES = ("file", "s3")


def pytest_addoption(parser):
    parser.addoption("--store", choices=(*STORES, "both"), default="both",
                     help="the store of tests that go through a repository")


def pytest_configure(config):
    config.addinivalue_line("markers", "stores(kind, ...): the only stores with which this test says anything new")
    config.addinivalue_line("markers", "slow: takes more than a few seconds; left out by run.sh --quick")
    # A terminated run ends as an interrupted one does: fixtures stop their servers.
    # A worker of pytest -n may not be the main thread, and ends with the process that started it.
    # What a shell starts in the background ignores SIGINT, and so would all that it starts.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc):
    if "store" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("stores")
        metafunc.parametrize("store", mark.args if mark else STORES, indirect=True, scope="module")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist makes groups of the marks at this time too
def pytest_collection_modifyitems(config, items):
    """--store file leaves out what needs S3, and the other way round; what needs neither stays.

    With several workers (pytest -n N --dist loadgroup) the tests of a file that use one kind of store
    stay together, with the server and the data that their module's fixtures make; the largest groups
    are begun first.
    """
    chosen = config.getoption("--store")
    if chosen != "both":
        out = [i for i in items if hasattr(i, "callspec") and i.callspec.params.get("store", chosen) != chosen]
        config.hook.pytest_deselected(items=out)
        items[:] = [i for i in items if i not in out]
    if config.pluginmanager.hasplugin("xdist"):
        groups = [f"{i.path.stem}-{i.callspec.params.get('store', 'any') if hasattr(i, 'callspec') else 'any'}" for i in items]
        for item, group in zip(items, groups):
            item.add_marker(pytest.mark.xdist_group(group))
        order = {g: n for n, (g, _) in enumerate(Counter(groups).most_common())}
        items[:] = [i for _, i in sorted(zip(groups, items), key=lambda pair: order[pair[0]])]


@pytest.fixture(scope="session")
def s3():
    """An S3 service: the one that PGCAIRN_TEST_S3_* name, or one of our own."""
    service = Service.from_environment() or Service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def store(request):
    """The kind of store of this test's repositories."""
    if request.param == "file":
        yield FileStore()
        return
    made = S3Store(request.getfixturevalue("s3"))
    yield made
    made.clear()


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
def workspace(tmp_path, server, store):
    """Makes a Workspace below the test's own folder."""
    def make(databases=("app",), name="ws", **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        return Workspace(folder, options.pop("server", server), databases, store=store, **options)

    os.chmod(tmp_path, 0o755)
    return make
