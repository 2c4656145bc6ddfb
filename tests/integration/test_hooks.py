"""Programs around a job: what they get, what their exit status does, and what becomes of those that hang."""
import json
import signal
import time

import pytest
from cairn import CLUSTER, assert_error

pytestmark = pytest.mark.stores("file")
DUMP = {"type": "dump", "keep": {"last": 3}, "lock_wait": "1s"}


class Hooked:
    """A workspace whose hooks leave what they got in a folder."""

    def __init__(self, ws):
        self.ws, self.folder = ws, ws.folder / "hooks"
        self.folder.mkdir()
        self.script = self.folder / "hook"
        self.script.write_text(f"""#!/bin/sh
cd {self.folder}
cat > "$PGCAIRN_PHASE.$1.json"
env > "$PGCAIRN_PHASE.$1.env"
echo "$PGCAIRN_PHASE $1 $PGCAIRN_OUTCOME" >> order
echo "said by $1"
echo "complaint of $1" >&2
exit "${{2:-0}}"
""")
        self.script.chmod(0o755)

    def program(self, name, status=0):
        return [str(self.script), name, str(status)]

    def shell(self, text):
        return ["/bin/sh", "-c", f"cd {self.folder}; {text}".replace("$$", "$$$$")]  # $$ is one $ in a policy

    def set(self, **hooks):
        self.ws.policy["defaults"]["hooks"] = hooks
        self.ws.write()

    @property
    def order(self):
        file = self.folder / "order"
        return file.read_text().splitlines() if file.exists() else []

    def got(self, phase, name):
        return json.loads((self.folder / f"{phase}.{name}.json").read_text())

    def env(self, phase, name):
        return dict(line.split("=", 1) for line in (self.folder / f"{phase}.{name}.env").read_text().splitlines() if "=" in line)

    def run(self, *options, expect=0, **more):
        return self.ws.run("run", f"{CLUSTER}/nightly", *options, json=True, expect=expect, **more)

    def log(self, run):
        return self.ws.run("log", run["run_id"]).out


@pytest.fixture
def hooked(workspace, database):
    database("small", "create table t as select 1 as v")
    return Hooked(workspace(["small"], jobs={"nightly": DUMP}))


def brief(run):
    return [(h["phase"], h["exit_status"]) for h in run["hooks"]]


def await_file(file, seconds=20):
    deadline = time.monotonic() + seconds
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline, f"no {file}"
        time.sleep(0.02)
    return file.read_text()


def assert_gone(pid):
    """A zombie that nobody reaps is gone too."""
    try:
        with open(f"/proc/{int(pid)}/stat") as stat:
            assert stat.read().rsplit(")", 1)[1].split()[0] == "Z", f"process {pid} lives"
    except FileNotFoundError:
        pass


def test_what_they_get(hooked):
    hooked.set(before=[hooked.program("one"), hooked.program("two")], after=hooked.program("three"), failure=hooked.program("never"))
    run = hooked.run("--due", "2026-11-21T02:00:00Z",
                     env={"PGPASSWORD": "zoo-secret-password", "MY_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "k"}).json
    assert hooked.order == ["before one running", "before two running", "after three done"]
    assert [(h["phase"], h["program"], h["exit_status"]) for h in run["hooks"]] == [
        ("before", str(hooked.script), 0), ("before", str(hooked.script), 0), ("after", str(hooked.script), 0)]
    assert all(0 <= h["seconds"] < 60 and "error" not in h for h in run["hooks"])
    before, after = hooked.got("before", "two"), hooked.got("after", "three")
    assert (before["phase"], before["outcome"], before["backup_id"], len(before["hooks"])) == ("before", "running", None, 1)
    assert {k: v for k, v in after.items() if k not in ("phase", "hooks", "ended_at")} == {
        k: v for k, v in run.items() if k not in ("hooks", "ended_at")}
    assert after["phase"] == "after" and after["hooks"] == run["hooks"][:2] and after["backup_id"] == run["backup_id"]
    env = hooked.env("after", "three")
    assert {k: v for k, v in env.items() if k.startswith("PGCAIRN_")} == {
        "PGCAIRN_CLUSTER": CLUSTER, "PGCAIRN_JOB": "nightly", "PGCAIRN_RUN_ID": run["run_id"], "PGCAIRN_PHASE": "after",
        "PGCAIRN_OUTCOME": "done"}
    assert not {"PGPASSWORD", "MY_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(env) and env["TZ"] == "UTC" and env["PATH"]
    log = hooked.log(run)
    for line in ("before, ", "said by one", "complaint of two", "said by three"):
        assert line in log
    # Done already: not this run's, so nothing runs around it; neither here nor where nothing is known of it.
    assert hooked.run("--due", "2026-11-21T02:00:00Z").json["outcome"] == "skipped"
    other = hooked.ws.folder / "elsewhere"
    other.mkdir()
    elsewhere = hooked.run("--due", "2026-11-21T02:00:00Z", env={"STATE_DIRECTORY": str(other)}).json
    assert elsewhere["outcome"] == "not_mine" and "hooks" not in elsewhere and len(hooked.order) == 3


def test_one_skips(hooked):
    hooked.set(before=[hooked.program("one", 77), hooked.program("two")], after=hooked.program("three"), failure=hooked.program("never"))
    run = hooked.run().json
    assert run["outcome"] == "skipped" and run["error"] is None and run["backup_id"] is None
    assert any("77" in n and str(hooked.script) in n for n in run["notices"])
    assert hooked.order == ["before one running", "after three skipped"] and brief(run) == [("before", 77), ("after", 0)]
    assert not hooked.ws.list()
    (job,) = hooked.ws.run("status", json=True).json["jobs"]
    assert job["last"]["outcome"] == "skipped"
    assert "says to skip it" in hooked.ws.run("run", f"{CLUSTER}/nightly").out


def test_one_fails(hooked):
    hooked.set(before=[hooked.program("one", 3), hooked.program("two")], after=hooked.program("three"), failure=hooked.program("page"))
    done = hooked.run(expect=1)
    run = done.json
    assert_error(done, "hook before", str(hooked.script), "exit status 3", f"pgcairn log {run['run_id']}")
    assert run["outcome"] == "failed" and run["error"]["code"] == "child" and not hooked.ws.list()
    assert hooked.order == ["before one running", "failure page failed", "after three failed"]
    assert hooked.got("failure", "page")["error"] == run["error"]
    hooked.set(before=[["/nowhere/at/all"]])
    assert_error(hooked.run(expect=1), "hook before", "/nowhere/at/all", "No such file")


def test_one_hangs(hooked):
    """It and what it started are ended, and the run fails; output without end is cut."""
    hooked.set(before=[hooked.shell("trap '' TERM; (trap '' TERM; sleep 600) & echo $! > pid; yes too-much & wait; wait")],
               failure=hooked.program("page"), timeout="1s")
    began = time.monotonic()
    done = hooked.run(expect=1)
    assert time.monotonic() - began < 20
    assert_error(done, "hook before", "1s")
    assert done.json["error"]["code"] == "timeout" and brief(done.json) == [("before", None), ("failure", 0)]
    assert_gone((hooked.folder / "pid").read_text())
    log = hooked.log(done.json)
    assert "says too much" in log and 100 < log.count("too-much") < 3000


def test_the_last_ones_change_nothing(hooked):
    hooked.set(after=[hooked.program("one", 9), ["/nowhere/at/all"], hooked.shell("echo $$ > pid; exec sleep 600"), hooked.program("two")], timeout="1s")
    run = hooked.run().json
    assert run["outcome"] == "done" and hooked.ws.good_backups() == [run["backup_id"]]
    assert brief(run) == [("after", 9), ("after", None), ("after", None), ("after", 0)]
    assert ["error" in h for h in run["hooks"]] == [True, True, True, False]
    warnings = [n for n in run["notices"] if n.startswith("warning: hook after")]
    assert len(warnings) == 3 and "exit status 9: " in warnings[0] and "within 1s" in warnings[2]
    assert all(w in hooked.log(run) for w in warnings)
    assert_gone((hooked.folder / "pid").read_text())


def test_the_server_is_down(hooked):
    hooked.ws.policy["postgres"]["connection"] = "host=127.0.0.1 port=1 user=nobody dbname=small connect_timeout=2"
    hooked.set(before=hooked.program("one"), after=hooked.program("two"), failure=hooked.program("page"))
    run = hooked.run(expect=3).json
    assert hooked.order == ["failure page failed"] and hooked.got("failure", "page")["error"]["code"] == "connection"
    assert brief(run) == [("failure", 0)]


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_signal(hooked, phase):
    """It ends the program that runs; the others get their turn. Who came second meanwhile has no hooks."""
    hangs = hooked.shell("echo $$ > pid; exec sleep 600")
    hooked.set(**{"before": [], "failure": hooked.program("page"), phase: [hangs, hooked.program("last")]})
    if phase == "before":
        hooked.ws.policy["defaults"]["hooks"]["after"] = [hooked.program("last"), hooked.shell("exec sleep 600")]
        hooked.ws.write()
    with hooked.ws.start("run", f"{CLUSTER}/nightly", json=True) as first:
        pid = await_file(hooked.folder / "pid")
        second = hooked.run(expect=4)
        assert "hooks" not in second.json and not hooked.order
        first.signal(signal.SIGTERM)
        run = first.wait(5 if phase == "before" else 0, seconds=30).json
    assert_gone(pid)
    if phase == "before":
        assert run["outcome"] == "interrupted" and hooked.order == ["failure page interrupted", "after last interrupted"]
        assert brief(run) == [("before", None), ("failure", 0), ("after", 0), ("after", None)]
        assert run["hooks"][3]["seconds"] < 10
    else:
        assert run["outcome"] == "done" and hooked.order == ["after last done"] and hooked.ws.good_backups()
