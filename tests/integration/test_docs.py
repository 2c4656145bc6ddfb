"""The documentation is true: what is printed from tables is up to date, links lead somewhere, and the
commands of the operations guide run, in their order, on a real server."""
import os
import re
import shutil
import subprocess
import textwrap

import pytest
from cairn import BINARY, TOP, run_pgcairn
from pg import BINDIR, Server, as_user, free_port, own

DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md")), *sorted(TOP.glob("policies/*.md")),
             *sorted(TOP.glob("contrib/**/README.md"))]


@pytest.mark.parametrize("topic", ["policy", "commands"])
def test_reference_is_up_to_date(topic):
    printed = run_pgcairn("reference", topic).out
    assert (TOP / f"docs/{topic}.md").read_text() == printed, \
        f"docs/{topic}.md is stale: build/dev/src/pgcairn reference {topic} > docs/{topic}.md"


def test_reference_as_json():
    sections = {s["name"]: s for s in run_pgcairn("--json", "reference", "policy").json["sections"]}
    assert {"", "jobs", "keep", "repository.s3"} <= set(sections)
    timeout = next(k for k in sections["defaults"]["keys"] if k["name"] == "timeout")
    assert (timeout["takes"], timeout["fallback"]) == ("1s to 30d", "6h")
    commands = {c["name"]: c for c in run_pgcairn("--json", "reference", "commands").json["commands"]}
    assert "dry-run" in [o["name"] for o in commands["restore dump"]["options"]]
    assert run_pgcairn("reference", "nothing", expect=2).out == ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(TOP)))
def test_links(document):
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", document.read_text()):
        if target and not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document}: nothing is at {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(TOP)))
def test_tables(document):
    """Every row of a table has as many cells as its first."""
    cells = 0
    for line in document.read_text().splitlines():
        count = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not cells or not count or count == cells, f"{document}: {line}"
        cells = count


# ---- calls of pgcairn, wherever they stand ----

CALL = re.compile(r"(?<![\w/.-])pgcairn((?: -c \S+| --json| -q| -v)*) ([a-z][^`\n\"]*)")
PLACES = [*DOCUMENTS, *sorted(TOP.glob("policies/*.yaml")), *sorted(TOP.glob("contrib/migrations/*/*"))]


@pytest.fixture(scope="module")
def command_options():
    commands = run_pgcairn("--json", "reference", "commands").json["commands"]
    return {c["name"]: {f"-{'' if len(o['name']) == 1 else '-'}{o['name']}" for o in c["options"]} for c in commands}


def find_command(words, known):
    for count in (3, 2, 1):
        if " ".join(words[:count]) in known:
            return " ".join(words[:count])
    return None


@pytest.mark.parametrize("place", PLACES, ids=lambda d: str(d.relative_to(TOP)))
def test_calls(place, command_options):
    """In code, a call of pgcairn names a command that there is, with options that it has."""
    groups = {name.split()[0] for name in command_options} | {"help"}
    for line in place.read_text().splitlines():
        is_code = place.suffix != ".md" or line.startswith("    ")
        texts = [line] if is_code else re.findall(r"`(pgcairn[^`]*)`", line)
        for _, rest in [call for text in texts for call in CALL.findall(text)]:
            words = re.split(r" -- | \| | \|\| | > |#", rest)[0].split()
            if not words or words[0] not in groups or words[0] == "help":
                assert not words or words[0] in groups or place.suffix != ".md" or not is_code, line
                continue
            name = find_command(words, command_options)
            if not name and len(words) == 1:
                continue  # the name of a group
            assert name, f"{place}: no command: {line}"
            for word in words:
                if word.startswith("-") and len(word) > 1 and word != "--help":
                    assert word.split("=")[0].rstrip(",.;:)") in command_options[name], f"{place}: {name} has no {word}: {line}"


# ---- the operations guide, run ----

STEPS = re.compile(r"^ *```sh\n(.*?)^ *```|<!-- test:(.*?)-->", re.DOTALL | re.MULTILINE)


def script_of(text):
    """The shell blocks of a document in their order, with the steps that only its test sees: comments
    whose first line says what they are for, and whose others are shell."""
    return "\n".join(textwrap.dedent(block) if block else "\n".join(line.strip() for line in hidden.split("\n")[1:])
                     for block, hidden in STEPS.findall(text))


@pytest.fixture
def guide(tmp_path_factory):
    """A server of its own, and a folder for what the guide calls /etc/pgcairn and /srv."""
    server = Server("guide", config={"archive_mode": "on", "wal_level": "replica", "max_wal_senders": 5,
                                     "archive_command": "", "fsync": "off"})
    top = server.root / "guide"
    for folder in (top, top / "bin", top / "srv", top / "state", top / "etc", top / "etc/policies"):
        folder.mkdir()
        own(folder, server.user)
    for program in (BINARY, BINARY.with_name("pgcairn-wal")):
        shutil.copy(program, top / "bin")
    try:
        server.start()
        server.createdb("shop")
        server.psql("shop", """create table orders (id int primary key generated always as identity,
                                   placed_at timestamptz not null default now());
                               insert into orders (placed_at) select now() from generate_series(1, 100)""")
        yield server, top
    finally:
        for data in (top / "srv/restored", top / "srv/newhost"):
            if (data / "postmaster.pid").exists():
                subprocess.run([BINDIR / "pg_ctl", "-D", data, "-m", "immediate", "stop"], check=False,
                               stdout=subprocess.DEVNULL, cwd="/", **as_user(server.user))
        server.stop()


@pytest.mark.stores("file")
def test_operations_guide(guide):
    server, top = guide
    script = script_of((TOP / "docs/operations.md").read_text())
    assert script.count("pgcairn ") > 30
    for named, real in (("host=/var/run/postgresql", f"host={server.socket_dir} port={server.port}"), ("/etc/pgcairn", f"{top}/etc"), ("/srv", f"{top}/srv"),
                        ("/usr/bin/pgcairn-wal", f"STATE_DIRECTORY={top}/state {top}/bin/pgcairn-wal"),
                        ("'2026-11-21 13:05:00Z'", '"$(cat "$T/moment")"'),
                        ("5433", str(free_port())), ("5434", str(free_port()))):
        script = script.replace(named, real)
    file = top / "guide.sh"
    file.write_text("set -eux\n" + script)
    environment = {**server.environment(), "T": str(top), "PGDATA": str(server.data), "HOME": str(top),
                   "STATE_DIRECTORY": f"{top}/state",
                   "PGCAIRN_POLICY": f"{top}/etc/policies", "PATH": f"{top}/bin:{BINDIR}:{os.environ['PATH']}"}
    environment.pop("PGDATABASE")
    with open(top / "log", "wb") as log:
        done = subprocess.run(["bash", file], env=environment, cwd=top / "srv", stdin=subprocess.DEVNULL, stdout=log,
                              stderr=subprocess.STDOUT, timeout=170, check=False, **as_user(server.user))
    text = (top / "log").read_text(errors="replace")
    assert done.returncode == 0, text[-5000:]
    assert "FATAL" not in text
