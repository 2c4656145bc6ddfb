"""What is stored is damaged: a restore says which object, ends with 1, and leaves nothing that looks whole."""
import json

import pytest
from cairn import assert_error
from compare import assert_equal_databases


@pytest.fixture
def ws(workspace, app):
    made = workspace(["app"])
    made.id = made.dump()
    return made


def flip(where):
    def change(data):
        data = bytearray(data)
        data[int(len(data) * where) if where < 1 else len(data) - 1] ^= 0x10
        return bytes(data)
    return change


DAMAGES = [
    ("flipped in the middle", flip(0.5)),
    ("flipped at the start", flip(0)),
    ("flipped in the last byte", flip(1)),
    ("truncated", lambda data: data[:len(data) // 2]),
    ("one byte short", lambda data: data[:-1]),
    ("one byte long", lambda data: data + b"\0"),
    ("empty", lambda data: b""),
    ("missing", lambda data: None),
    ("of another kind", lambda data: b"not a volume" * 1000),
]


def assert_refused(ws, restored, *words):
    run = ws.run("restore", "dump", "demo", ws.id, "--into", restored, expect=(1, 3))
    assert_error(run, *words)
    left = [d for d in ws.server.databases() if d == restored]
    assert not left, "a database under the name that was asked for looks whole"
    for name in ws.server.databases():
        if name.startswith("pgcairn_restore_"):
            ws.server.dropdb(name)
    return run


@pytest.mark.parametrize("name, change", DAMAGES, ids=[d[0] for d in DAMAGES])
def test_damaged_volume(ws, restored, name, change):
    ws.repository.rewrite(ws.volumes(ws.id)[0], change)
    run = assert_refused(ws, restored, "data-0001.tar.zst")
    assert run.rc == 1


@pytest.mark.parametrize("name", ["schema.pgdump", "sequences.sql"])
@pytest.mark.parametrize("change", [flip(0.5), lambda data: data[:len(data) // 2], lambda data: None],
                         ids=["flipped", "truncated", "missing"])
def test_damaged_other_object(ws, restored, name, change):
    (key,) = ws.repository.find(name, ws.backup_key(ws.id))
    ws.repository.rewrite(key, change)
    assert_refused(ws, restored, name)


@pytest.mark.parametrize("change", [lambda data: b"", lambda data: data[:100], lambda data: b"{}", lambda data: b"[1]"],
                         ids=["empty", "cut", "an empty object", "a list"])
def test_damaged_manifest(ws, restored, change):
    ws.repository.rewrite(ws.backup_key(ws.id, "manifest.json"), change)
    assert_refused(ws, restored, ws.id)
    (entry,) = ws.list()
    assert entry["state"] == "unknown"
    assert_error(ws.run("restore", "dump", "demo", "latest", "--into", restored, expect=(1, 3)))


def test_a_row_too_many_in_the_manifest(ws, restored):
    """Row counts are compared with the manifest: a volume that lost rows in making is found."""
    def one_more(data):
        manifest = json.loads(data)
        (table,) = [t for t in manifest["databases"][0]["tables"] if t["name"] == "Orders"]
        table["rows"] += 1
        return json.dumps(manifest).encode()

    ws.repository.rewrite(ws.backup_key(ws.id, "manifest.json"), one_more)
    run = ws.run("restore", "dump", "demo", ws.id, "--into", restored, expect=1)
    assert_error(run, "Orders")


def test_export_of_a_damaged_dump_fails(ws):
    ws.repository.rewrite(ws.volumes(ws.id)[0], flip(0.5))
    run = ws.run("export", "demo", ws.id, "--database", "app", "--format", "plain", expect=1)
    assert "data-0001" in run.err


def test_latest_is_the_newest_good_one(ws, server, app, restored):
    """A newer dump whose manifest is gone is passed over."""
    newer = ws.dump()
    ws.repository.delete(ws.backup_key(newer, "manifest.json"))
    run = ws.run("restore", "dump", "demo", "latest", "--into", restored, "--dry-run", json=True)
    assert ws.id in run.out and newer not in run.out
    ws.run("restore", "dump", "demo", "latest", "--into", restored)
    assert_equal_databases(server, app, restored)


def test_a_newer_format_is_refused(ws, restored):
    ws.repository.rewrite("pgcairn.json", lambda data: data.replace(b'"format":1', b'"format":99').replace(b'"format": 1', b'"format": 99'))
    run = ws.run("list", expect=(1, 2, 3))
    assert_error(run, "99")
    ws.run("run", "demo/nightly", expect=(1, 2, 3))
