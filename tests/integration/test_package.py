"""What the Debian package, the units, the container and the manifests hold; that they work is shown by
tests/package.sh, which boots a Debian."""
import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from cairn import TOP, run_pgcairn

BUILD = Path(os.environ.get("PGCAIRN_BUILD", TOP / "build/dev"))
UNITS = sorted((TOP / "packaging/systemd").glob("*.service"))
EXPOSURE_MAX = 2.5  # of ten, by systemd's own measure
COMMANDS = [c["name"] for c in run_pgcairn("--json", "reference", "commands").json["commands"]]


def tool(*argv, **options):
    if not shutil.which(argv[0]):
        pytest.skip(f"{argv[0]} is not installed")
    return subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)


def page(command=None):
    return run_pgcairn("help", "--man", *(command.split() if command else [])).out


# -- man pages and completion -------------------------------------------------------------------------

@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_man_page(name):
    text = page(name)
    done = tool("mandoc", "-T", "lint", "-W", "error", input=text)
    assert done.stdout == "", done.stdout
    assert tool("groff", "-ww", "-man", "-z", input=text).stdout == ""
    done = tool("groff", "-man", "-T", "ascii", "-P", "-cbou", input=text)
    shown = " ".join(done.stdout.split())
    if name is None:
        missing = [c for c in COMMANDS if f"pgcairn-{c.replace(' ', '-')}(1)" not in shown]
        assert not missing and "EXIT STATUS" in shown
        return
    assert f"pgcairn-{name.replace(' ', '-')} -" in shown
    rows = next(c for c in run_pgcairn("--json", "reference", "commands").json["commands"] if c["name"] == name)
    for option in rows["options"]:
        dashes = "--" if len(option["name"]) > 1 else "-"
        assert re.search(rf"(?<![\w-]){dashes}{option['name']}(?![\w-])", shown), f"{name}: {option['name']} is not told"


def test_no_man_page_of_nothing():
    run_pgcairn("help", "--man", "nothing", expect=2)


def complete(*words):
    out = run_pgcairn("help", "--complete", "--", "-c", TOP / "policies/minimal.yaml", *words).out
    return [line.split("\t")[0] for line in out.splitlines()]


@pytest.mark.parametrize("words, wanted, unwanted", [
    (["wal", ""], {"push", "fetch", "status"}, {"wal", "wal push"}),
    (["sch"], {"schedule"}, {"status"}),
    (["run", "app/"], {"app/nightly", "app/prune"}, {":files"}),
    (["list", ""], {"app"}, {"app/nightly"}),
    (["list", "--kind", "s"], {"snapshot"}, {"dump", "app"}),
    (["wal", "receive", "app", "--acknowledge", ""], {"stored", "spooled"}, {"app"}),
    (["restore", "dump", "app", "--"], {"--into", "--dry-run"}, {"--drain"}),
    (["restore", "dump", "app", "l"], {"latest"}, set()),
    (["policy", "check", ""], {":files"}, {"app"}),
    (["-c", ""], {":files"}, {"app"}),
    (["help", "restore", ""], {"dump", "snapshot"}, {"app"}),
    (["run", "--due", "x", ""], {"app/nightly"}, set()),
    (["nothing", ""], set(), {"app"}),
])
def test_completion(words, wanted, unwanted):
    got = set(complete(*words))
    assert wanted <= got and not unwanted & got, got


def test_completion_with_a_bad_policy(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("cluster: [")
    assert run_pgcairn("help", "--complete", "--", "-c", bad, "run", "").out == ""
    assert run_pgcairn("help", "--complete", "--", "-c", tmp_path / "none", "run", "").out == ""


def test_bash_completes():
    script = f'''
        PATH={BUILD / "src"}:$PATH PGCAIRN_POLICY={TOP / "policies/minimal.yaml"}
        export PATH PGCAIRN_POLICY
        . {TOP / "contrib/completion/pgcairn.bash"}
        COMP_WORDS=(pgcairn run app/n) COMP_CWORD=2
        _pgcairn pgcairn app/n run
        echo "${{COMPREPLY[@]}}"'''
    assert tool("bash", "-c", script).stdout == "app/nightly\n"


# -- units ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_unit_is_hardened(unit):
    done = tool("systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX * 10:.0f}", unit)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.name)
def test_unit_is_good(unit, tmp_path):
    """The programs and pages that it names are put where this machine has some."""
    name = unit.name.replace("@.", "@shop-nightly.")
    text = re.sub(r"/usr/bin/pgcairn", str(BUILD / "src/pgcairn"), unit.read_text())
    (tmp_path / name).write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE))
    done = tool("systemd-analyze", "verify", tmp_path / name)
    told = [line for line in done.stdout.splitlines() if name in line]
    assert told == [], done.stdout


def test_units_agree():
    """What both units say of the sandbox is the same."""
    daemon, run = ([line for line in unit.read_text().splitlines() if re.match(r"(Protect|Private|Restrict|System|"
                                                                              r"NoNew|State|Read|Capab|UMask)", line)]
                   for unit in sorted(UNITS, key=lambda u: "run" in u.name))
    assert daemon == run


# -- the package -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Of the build that is tested, not of the one that users get: it holds the same files."""
    folder = tmp_path_factory.mktemp("package")
    done = tool("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", folder, "-D", "CPACK_STRIP_FILES=OFF", cwd=folder)
    found = list(folder.glob("*.deb"))
    assert done.returncode == 0 and len(found) == 1, done.stdout
    tool("dpkg-deb", "-R", found[0], folder / "root")
    return found[0], folder / "root"


def test_package_holds(package):
    _, root = package
    names = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    wanted = {"usr/bin/pgcairn", "usr/bin/pgcairn-wal", "lib/systemd/system/pgcairn.service",
              "lib/systemd/system/pgcairn-run@.service", "usr/lib/tmpfiles.d/pgcairn.conf", "etc/logrotate.d/pgcairn",
              "usr/share/bash-completion/completions/pgcairn", "usr/share/zsh/vendor-completions/_pgcairn",
              "usr/share/fish/vendor_completions.d/pgcairn.fish", "usr/share/doc/pgcairn/copyright",
              "usr/share/doc/pgcairn/changelog.gz", "usr/share/doc/pgcairn/examples/policies/minimal.yaml",
              "usr/share/doc/pgcairn/examples/container/compose.yaml",
              "usr/share/man/man1/pgcairn.1.gz", "usr/share/man/man1/pgcairn-wal.1.gz"}
    wanted |= {f"usr/share/man/man1/pgcairn-{c.replace(' ', '-')}.1.gz" for c in COMMANDS}
    assert not wanted - names
    strange = {n for n in names if not n.startswith(("DEBIAN/", "usr/", "etc/logrotate.d/", "lib/systemd/system/"))}
    assert not strange
    assert ".TH PGCAIRN" in gzip.open(root / "usr/share/man/man1/pgcairn-run.1.gz", "rt").read()


def test_package_is_described(package):
    file, root = package
    fields = dict(line.split(": ", 1) for line in (root / "DEBIAN/control").read_text().splitlines()
                  if ": " in line and not line.startswith(" "))
    version = run_pgcairn("--version").out.split()[1]
    assert (fields["Package"], fields["Version"]) == ("pgcairn", version)
    depends = fields["Depends"]
    for needed in ("libpq5", "libarchive13", "libcurl", "libsqlite3-0", "libyaml-0-2", "postgresql-client", "adduser"):
        assert needed in depends, depends
    assert (root / "DEBIAN/conffiles").read_text() == "/etc/logrotate.d/pgcairn\n"
    for script in ("postinst", "prerm", "postrm"):
        assert (root / "DEBIAN" / script).stat().st_mode & 0o777 == 0o755
        assert tool("sh", "-n", root / "DEBIAN" / script).returncode == 0
    first = gzip.open(root / "usr/share/doc/pgcairn/changelog.gz", "rt").readline()
    assert first.startswith(f"pgcairn ({version})"), first


@pytest.mark.slow
def test_lintian(package):
    """That programs are stripped and hardened is asked of the package that users get, not of this build."""
    done = tool("lintian", "--fail-on", "error,warning", "--suppress-tags",
                "unstripped-binary-or-object,hardening-no-pie,hardening-no-fortify-functions,hardening-no-relro",
                package[0])
    assert done.returncode == 0, done.stdout


# -- container and manifests --------------------------------------------------------------------------------

def documents(path):
    return list(yaml.safe_load_all((TOP / path).read_text()))


def test_compose():
    compose, = documents("packaging/container/compose.yaml")
    services = compose["services"]
    assert services["postgres"]["image"].endswith("postgres:16") and {"s3", "pgcairn"} <= set(services)
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = source in compose["volumes"] if source[0] != "." else (TOP / "packaging/container" / source).exists()
            assert known, f"{name}: {volume}"
        assert set(service.get("depends_on", [])) <= set(services)
        secrets = [v for k, v in service.get("environment", {}).items() if "PASSWORD" in k or "SECRET" in k or "URL" in k]
        assert all(re.search(r"\$\{\w+:\?", secret) for secret in secrets), f"{name}: a secret is written out"
    build = services["pgcairn"]["build"]
    assert (TOP / "packaging/container" / build["context"] / build["dockerfile"]).exists()


def test_containerfile():
    text = (TOP / "packaging/container/Containerfile").read_text()
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    users = [line[1] for line in lines if line[0] == "USER"]
    assert users == ["970:970"] and "number=970" in (TOP / "packaging/container/install.sh").read_text()
    for line in lines:
        if line[0] == "COPY" and not line[1].startswith("--from") and line[1] != ".":
            assert (TOP / line[1]).exists(), line
    assert lines[-1] == ["CMD", '["daemon"]']


def policy_is_good(text, tmp_path, **environment):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    run_pgcairn("-c", path, "policy", "check", env=environment)


def test_policies_of_the_examples(tmp_path):
    environment = {"DATABASE_URL": "postgresql://pgcairn@localhost/shop"}
    policy_is_good((TOP / "packaging/container/policy.yaml").read_text(), tmp_path, **environment)
    config = next(d for d in documents("packaging/kubernetes/common.yaml") if d["kind"] == "ConfigMap")
    for text in config["data"].values():
        policy_is_good(text, tmp_path, **environment)


@pytest.mark.parametrize("file", ["daemon.yaml", "cronjob.yaml"])
def test_manifests(file):
    """Names fit together, and the pods pass the "restricted" pod security standard."""
    here = documents(f"packaging/kubernetes/{file}")
    named = {(d["kind"], d["metadata"]["name"]) for d in here + documents("packaging/kubernetes/common.yaml")}
    assert all(d["apiVersion"] in ("v1", "apps/v1", "batch/v1") for d in here)
    templates = [d["spec"]["template"] if d["kind"] == "Deployment" else d["spec"]["jobTemplate"]["spec"]["template"]
                 for d in here if d["kind"] in ("Deployment", "CronJob")]
    assert len(templates) == 1
    spec = templates[0]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    volumes = {v["name"]: v for v in spec["volumes"]}
    for volume in volumes.values():
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in named
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in named
    container, = spec["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                            "capabilities": {"drop": ["ALL"]}}
    assert {m["name"] for m in container["volumeMounts"]} == set(volumes)
    assert all(("Secret", e["secretRef"]["name"]) in named for e in container["envFrom"])
    ports = {p["name"] for p in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if file == "daemon.yaml":
            assert container[probe]["httpGet"]["port"] in ports
            assert container[probe]["httpGet"]["path"] in ("/healthz", "/readyz")
    if file == "daemon.yaml":
        service = next(d for d in here if d["kind"] == "Service")
        assert service["spec"]["selector"].items() <= templates[0]["metadata"]["labels"].items()
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    else:
        cron = here[0]["spec"]
        assert cron["concurrencyPolicy"] == "Forbid" and spec["restartPolicy"] == "Never"
