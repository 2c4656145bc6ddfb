"""Each operation of the S3 store through each fault of the way and of the service, made by s3_proxy.

Once: the operation succeeds, and what it made or read is whole and right. For ever: it fails within
bounded time, with one line that names the first cause and counts the attempts; what it wrote is whole
or absent, and no upload stays behind. The table is run by several threads at the first test that
needs it, for a row mostly waits; each test then judges one row.
"""
import hashlib
import os
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import s3_proxy as faults
from cairn import BINARY, Run, check_run
from pg import clean_environment, die_with_parent, wait_until
from s3 import Service
from s3_proxy import Proxy, answer

TOOL = BINARY.parent.parent / "tests/tools/store_tool"
ROWS_AT_ONCE = 8
LARGE_AT_ONCE = threading.Semaphore(3)
TRIES = 3  # of a row that the machine was too slow for: what is no stall looked like one
ONCE_MS = 6000  # what an operation may take to get over one fault; a third of it, in whole seconds, is a stall
EVER_MS = 1000
BOUND_S = 30  # of a fault for ever: several requests each have EVER_MS, and libcurl sees a stall after some 6 s
LISTED = 1100  # more than one page
SMALL = os.urandom(5000)
LARGE = os.urandom(17 << 20)  # three parts, three pieces


def sum_lines(data):
    return f"size: {len(data)}\nsha256: {hashlib.sha256(data).hexdigest()}\n"


class Tool:
    """store_tool with a service, or with a proxy before it."""

    def __init__(self, service, url, endpoint=None, **options):
        self.url = url
        self.options = [f"--endpoint={endpoint or service.endpoint}", f"--region={service.region}"]
        self.options = [part for option in self.options for part in option.split("=", 1)]
        for name, value in options.items():
            self.options += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        self.env = clean_environment(**service.environment(), AWS_EC2_METADATA_DISABLED="true")

    def command(self, *arguments):
        assert TOOL.exists(), f"{TOOL} is not built: sh tests/run.sh builds it"
        return [str(TOOL), *self.options, self.url, *map(str, arguments)]

    def run(self, *arguments, expect=0, seconds=60):
        done = subprocess.run(self.command(*arguments), env=self.env, capture_output=True, text=True, timeout=seconds,
                              check=False)
        run = Run(done.args, done.returncode, done.stdout, done.stderr)
        check_run(run, expect)
        return run

    def start(self, *arguments):
        return subprocess.Popen(self.command(*arguments), env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, preexec_fn=die_with_parent)


def code_of(run):
    found = re.search(r"^code: (\w+)$", run.err, re.MULTILINE)
    return found.group(1) if found else "done"


@pytest.fixture(scope="module")
def gateway(s3):
    """A gateway of our own: it is killed, and the proxy speaks plain HTTP to it."""
    service = s3 if s3.is_ours else Service.start()
    yield service
    if service is not s3:
        service.stop()


@pytest.fixture(scope="module")
def bucket(gateway):
    return gateway.bucket("pgcairn-faults")


# -- the table: operations ----------------------------------------------------------------------------

@dataclass
class Place:
    """Where one row works: keys of its own below folder, and what all rows share below shared/."""
    bucket: object
    folder: str
    files: Path

    def whole_key(self, key):
        return key if key.startswith("shared/") else f"{self.folder}/{key}"

    def file(self, name, data):
        path = self.files / f"{self.folder.replace('/', '-')}-{name}"
        path.write_bytes(data)
        return path


class Put:
    def __init__(self, data, **options):
        self.data, self.options = data, options

    def prepare(self, place):
        return "put", place.whole_key("new"), place.file("in", self.data)

    def check(self, place, run, done):
        key = place.whole_key("new")
        assert not place.bucket.uploads(key), f"an upload stayed behind:\n{run}"
        if done or place.bucket.head(key) is not None:
            assert place.bucket.get(key) == self.data, f"not what was sent:\n{run}"
        if done:
            assert run.out == sum_lines(self.data), run


class Get:
    options = {}

    def __init__(self, key, data):
        self.key, self.data = key, data

    def prepare(self, place):
        return "get", self.key, place.file("out", b"")

    def check(self, place, run, done):
        if done:
            assert run.out == sum_lines(self.data), run
            assert (place.files / f"{place.folder.replace('/', '-')}-out").read_bytes() == self.data, run
        else:
            assert run.out == "", run


class List:
    options = {}

    def prepare(self, place):
        return "list", "shared/list/"

    def check(self, place, run, done):
        if done:
            expected = sorted(f"1 shared/list/{i}" for i in range(LISTED))
            assert run.out.splitlines() == sorted(expected, key=lambda line: line[2:]), run


class Stat:
    options = {}

    def prepare(self, place):
        return "stat", "shared/small"

    def check(self, place, run, done):
        if done:
            assert run.out.startswith(f"size: {len(SMALL)}\n"), run


class Delete:
    options = {}

    def __init__(self, count):
        self.keys = [f"old-{i}" for i in range(count)]

    def prepare(self, place):
        for key in self.keys:
            place.bucket.put(place.whole_key(key), b"x")
        return "delete", *(place.whole_key(key) for key in self.keys)

    def check(self, place, run, done):
        if done:
            left = [key for key in self.keys if place.bucket.head(place.whole_key(key)) is not None]
            assert not left, f"said to be deleted, and there: {left}\n{run}"


# name: (operation, the kinds of requests that it needs and the first of each to damage)
OPERATIONS = {
    "put-small": (Put(SMALL), {"put": 1, "head": 1}),
    "put-large": (Put(LARGE), {"create": 1, "part": 2, "complete": 1}),
    "put-if-absent": (Put(SMALL, if_absent=True), {"head": 1, "put": 1}),
    "put-large-if-absent": (Put(LARGE, if_absent=True), {"complete": 1}),
    "get-small": (Get("shared/small", SMALL), {"get": 1}),
    "get-large": (Get("shared/large", LARGE), {"get": 2}),
    "list": (List(), {"list": 2}),
    "stat": (Stat(), {"head": 1}),
    "delete": (Delete(1), {"versioning": 1, "batch": 1}),
    "delete-many": (Delete(3), {"batch": 1}),
}


# -- the table: faults --------------------------------------------------------------------------------

ALL = frozenset("put head create part complete get list versioning batch".split())
WITH_BODY = frozenset("put part complete batch".split())
WITH_DOCUMENT = frozenset("create complete get list versioning batch".split())
CONNECTION = r"within its headers|reset|closed|Empty reply|Send failure|Recv failure|Operation too slow|refused|Connection"
DAMAGED = r"can't be used|no element|not well-formed|unclosed|ended after|no listing|transfer closed|XML|document"
REFUSED_DIGEST = r"BadDigest|SHA256Mismatch|InvalidDigest|SignatureDoesNotMatch"


@dataclass
class Fault:
    name: str
    make: object          # of s3_proxy
    kinds: frozenset
    code: tuple           # of the error, for ever
    words: str            # that name the cause
    made_good: tuple = () # kinds for which it does no harm for ever, because ...
    not_ever: tuple = ()  # kinds and operations that it is made for only once
    is_final: bool = False  # lessons are limited by number, and not counted in words


LATER_HEAD = ("complete",)     # ... the object itself tells that the upload was completed
GOES_ON = ("complete", "get")  # ... and each attempt brings some bytes more

FAULTS = [
    Fault("500", answer(500, "InternalError"), ALL, ("connection",), "InternalError|HTTP 500"),
    Fault("503-slow-down", answer(503, "SlowDown"), ALL, ("connection",), "SlowDown|HTTP 503"),
    Fault("503-page", answer(503), ALL, ("connection",), "HTTP 503"),
    Fault("429", answer(429), ALL, ("connection",), "HTTP 429"),
    Fault("408", answer(408), ALL, ("connection",), "HTTP 408"),
    Fault("400-timeout", answer(400, "RequestTimeout"), ALL - {"head"}, ("connection",), "RequestTimeout"),
    Fault("skewed", faults.skewed(), ALL, ("authentication",), r"the clock here is \d+ s behind", is_final=True),
    Fault("cut-request", faults.cut_request(), WITH_BODY, ("connection",), CONNECTION),
    Fault("drop-reply", faults.drop_reply, ALL, ("connection",), CONNECTION, LATER_HEAD),
    Fault("cut-reply-head", faults.cut_reply_head, ALL, ("connection", "corrupt", "unknown"), f"{CONNECTION}|{DAMAGED}",
          LATER_HEAD),
    Fault("cut-reply-body", faults.cut_reply_body, WITH_DOCUMENT, ("connection",), CONNECTION, GOES_ON),
    Fault("shorten-reply", faults.shorten_reply, WITH_DOCUMENT, ("corrupt", "connection", "unknown"), DAMAGED, GOES_ON),
    # A completion may take minutes, and is waited for as long.
    Fault("stall", faults.stall(30), ALL - {"complete"}, ("connection",), CONNECTION),
    Fault("stall-request", faults.stall_request(30), WITH_BODY - {"complete"}, ("connection",), CONNECTION),
    # A large object would go on, too, by half of the rest at each stall.
    Fault("stall-reply", faults.stall_reply(30), WITH_DOCUMENT - {"complete"}, ("connection",), CONNECTION, ("get",),
          not_ever=("get-large",)),
    Fault("delay", faults.delay(0.7), ALL, (), "", not_ever=tuple(ALL)),
    Fault("error-in-200", answer(200, "InternalError"), frozenset({"complete", "batch"}), ("connection",), "InternalError"),
    Fault("wrong-etag", faults.wrong_etag, frozenset({"put", "part", "complete"}), ("corrupt",), "stored ETag",
          (*LATER_HEAD, "put-if-absent")),  # ... and the second attempt, refused, looks whose object is there
    Fault("flip-request", faults.flip_request, WITH_BODY, ("corrupt", "authentication"), REFUSED_DIGEST),
]


@dataclass
class Row:
    operation: str
    kind: str
    fault: Fault
    for_ever: bool

    @property
    def id(self):
        return f"{self.operation}-{self.kind}-{self.fault.name}-{'ever' if self.for_ever else 'once'}"

    @property
    def is_made_good(self):
        return not self.for_ever or {self.kind, self.operation} & set(self.fault.made_good)


ROWS = [Row(operation, kind, fault, for_ever) for operation, (_, kinds) in OPERATIONS.items() for kind in kinds
        for fault in FAULTS if kind in fault.kinds
        for for_ever in ((False,) if {kind, operation} & set(fault.not_ever) else (False, True))]


def check_failure(run, fault, seconds):
    errors = [line for line in run.err.splitlines() if line.startswith("store_tool: ")]
    assert len(errors) == 1, f"not one line of error:\n{run}"
    assert re.search(fault.words, errors[0]), f"the cause is not named ({fault.words}):\n{run}"
    assert code_of(run) in fault.code, run
    assert "\n  hint: " in run.err, f"no cure is named:\n{run}"
    counted = re.search(r"tried (\d+) times in", errors[0])
    assert fault.is_final or counted and int(counted.group(1)) > 1, f"the attempts are not counted:\n{run}"
    assert seconds < BOUND_S, f"it took {seconds:.1f} s:\n{run}"


def run_tool(row, gateway, place):
    """The run and its seconds."""
    operation, kinds = OPERATIONS[row.operation]
    times, first = (None, 1) if row.for_ever else (1, kinds[row.kind])
    with Proxy(*gateway.address) as proxy:
        proxy.add(row.kind, row.fault.make, first, times)
        if row.kind == "head":  # a HEAD that is refused is asked about by a GET
            proxy.add("get", row.fault.make, 1, times)
        tool = Tool(gateway, f"s3://{place.bucket.name}", proxy.endpoint, retry_ms=EVER_MS if row.for_ever else ONCE_MS,
                    **operation.options)
        arguments = operation.prepare(place)
        began = time.monotonic()
        run = tool.run(*arguments, expect=None)
        seconds = time.monotonic() - began
        run.err += f"\n(requests: {dict(proxy.counts)}, faults: {proxy.fired})"
        run.fired = proxy.fired
    return run, seconds


def judge_row(row, run, seconds, place):
    assert run.fired, f"there was no {row.kind} to damage:\n{run}"
    if row.is_made_good:
        assert run.rc == 0, f"it should have got over it:\n{run}"
    else:
        assert run.rc in (1, 3), f"it should have failed:\n{run}"
        check_failure(run, row.fault, seconds)
    OPERATIONS[row.operation][0].check(place, run, run.rc == 0)


def run_row(row, gateway, place):
    with LARGE_AT_ONCE if "large" in row.operation else nullcontext():
        for _ in range(TRIES if row.is_made_good or "stall" not in row.fault.name else 1):
            run, seconds = run_tool(row, gateway, place)
            if "too slow" not in run.err:
                break
    judge_row(row, run, seconds, place)


@pytest.fixture(scope="module")
def outcomes(request, gateway, bucket, tmp_path_factory):
    """{id of a row: its future}, of all rows that were chosen."""
    files = tmp_path_factory.mktemp("rows")
    shared = Tool(gateway, f"s3://{bucket.name}")
    for name, data in (("small", SMALL), ("large", LARGE)):
        (files / name).write_bytes(data)
        shared.run("put", f"shared/{name}", files / name)
    with ThreadPoolExecutor(ROWS_AT_ONCE) as pool:
        list(pool.map(lambda i: bucket.put(f"shared/list/{i}", b"x"), range(LISTED)))
        rows = [item.callspec.params["row"] for item in request.session.items
                if hasattr(item, "callspec") and isinstance(item.callspec.params.get("row"), Row)]
        yield {row.id: pool.submit(run_row, row, gateway, Place(bucket, f"rows/{row.id}", files)) for row in rows}
        pool.shutdown(cancel_futures=True)


def parameter_of(row):
    return pytest.param(row, id=row.id, marks=pytest.mark.slow if "large" in row.operation else ())


@pytest.mark.parametrize("row", map(parameter_of, ROWS))
def test_fault(row, outcomes):
    outcomes[row.id].result()


# -- more than one fault ------------------------------------------------------------------------------

@pytest.fixture
def tool(gateway, bucket, request):
    """Makes a Tool for a folder of the test's own: tool(endpoint=..., option=...)."""
    return lambda endpoint=None, **options: Tool(gateway, f"s3://{bucket.name}/{request.node.name}", endpoint, **options)


@pytest.fixture
def proxy(gateway):
    with Proxy(*gateway.address) as made:
        yield made


def test_abort_is_tried_again(tool, proxy, bucket, request, tmp_path):
    (tmp_path / "in").write_bytes(LARGE)
    proxy.add("part", answer(403, "AccessDenied"), first=2)
    proxy.add("abort", answer(503, "SlowDown"), times=1)
    run = tool(proxy.endpoint, retry_ms=ONCE_MS).run("put", "k", tmp_path / "in", expect=1)
    assert code_of(run) == "permission" and "s3:PutObject" in run.err, run
    assert proxy.counts["abort"] >= 2 and not bucket.uploads(f"{request.node.name}/"), proxy.counts


@pytest.mark.parametrize("later", [True, False], ids=["later", "never"])
def test_nobody_listens(gateway, tool, later):
    tool().run("put", "k", "/dev/null")
    with Proxy(*gateway.address, listening=False) as proxy:
        timer = threading.Timer(0.5, proxy.listen)
        if later:
            timer.start()
        run = tool(proxy.endpoint, retry_ms=20000 if later else 700).run("stat", "k", expect=0 if later else 3)
        timer.cancel()
    if not later:
        assert code_of(run) == "connection", run
        assert re.search(rf"127\.0\.0\.1:{proxy.port}.*(refused|[Cc]onnect).*tried \d+ times", run.err), run


def test_flipped_reply(tool, proxy, bucket, tmp_path, request):
    """What is small is proved by its ETag; of what is large, whoever reads knows the SHA-256."""
    bucket.put(f"{request.node.name}/k", SMALL)
    proxy.add("get", faults.flip_reply, times=1)
    assert tool(proxy.endpoint).run("get", "k").out == sum_lines(SMALL)
    proxy.add("get", faults.flip_reply)
    run = tool(proxy.endpoint).run("get", "k", expect=1)
    assert code_of(run) == "corrupt" and "3 times" in run.err, run


def test_region_is_learnt(tool, proxy, bucket, request):
    """The signature must name the region of the bucket, which a refusal names."""
    seen = []

    def demand_region(exchange):
        scope = dict((n.lower(), v) for n, v in exchange.headers)["authorization"].split("Credential=")[1].split("/")[2]
        seen.append(scope)
        if scope == "eu-north-1":
            faults.plain(exchange)
        else:
            answer(400, "AuthorizationHeaderMalformed", headers=[("x-amz-bucket-region", "eu-north-1")],
                   body="<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message>"
                        "<Region>eu-north-1</Region></Error>")(exchange)

    bucket.put(f"{request.node.name}/k", SMALL)
    for kind in ("get", "head", "put", "list"):
        proxy.add(kind, demand_region)
    for command in (["get", "k"], ["stat", "k"], ["put", "new", "/dev/null"], ["list"]):
        seen.clear()
        tool(proxy.endpoint).run(*command)
        assert seen[0] == gateway_region(tool) and seen[-1] == "eu-north-1", f"{command}: {seen}"


def gateway_region(tool):
    options = tool().options
    return options[options.index("--region") + 1]


def test_redirected_to_a_region(tool, proxy, bucket, request):
    bucket.put(f"{request.node.name}/k", SMALL)
    proxy.add("head", answer(301, headers=[("x-amz-bucket-region", "eu-north-1")], body=""), times=1)
    assert tool(proxy.endpoint).run("stat", "k").out.startswith(f"size: {len(SMALL)}\n")


# -- killed -------------------------------------------------------------------------------------------

def finish(process, data=b"", expect=0):
    out, err = process.communicate(data, timeout=120)
    run = Run(process.args, process.returncode, out.decode(), err.decode())
    check_run(run, expect)
    return run


def test_killed_in_an_upload(tool, bucket, request):
    folder = request.node.name
    process = tool().start("put", "a/k", "-")
    process.stdin.write(LARGE)
    process.stdin.flush()
    wait_until(lambda: bucket.uploads(f"{folder}/"), what="an upload")
    process.kill()
    process.communicate()
    assert tool().run("unfinished").out == "0 a/k\n"
    tool().run("remove-unfinished", "a/other")
    assert tool().run("unfinished").out == "0 a/k\n"
    tool().run("remove-unfinished", "a/k")
    assert tool().run("unfinished").out == "" and not bucket.uploads(f"{folder}/")
    assert code_of(tool().run("stat", "a/k", expect=1)) == "not_found"


def restart(gateway):
    gateway.script("kill-gateway")
    time.sleep(0.3)
    gateway.script("start-gateway")


def test_gateway_restarted_in_an_upload(gateway, tool, bucket, request):
    process = tool().start("put", "k", "-")
    process.stdin.write(LARGE[:10 << 20])
    process.stdin.flush()
    wait_until(lambda: bucket.uploads(f"{request.node.name}/"), what="an upload")
    restart(gateway)
    assert finish(process, LARGE[10 << 20:]).out == sum_lines(LARGE)
    assert bucket.get(f"{request.node.name}/k") == LARGE and not bucket.uploads(f"{request.node.name}/")


def test_gateway_restarted_in_a_download(gateway, tool, bucket, request, tmp_path):
    data = LARGE * 4  # more than is read ahead
    bucket.put(f"{request.node.name}/k", data)
    os.mkfifo(tmp_path / "out")
    process = tool().start("get", "k", tmp_path / "out")
    with open(tmp_path / "out", "rb") as out:
        got = out.read(1 << 20)
        restart(gateway)
        got += out.read()
    assert finish(process).out == sum_lines(data) and got == data


def test_one_of_many_creates_wins(tool, bucket, request):
    runners = [tool(if_absent=True).start("put", "k", "-") for _ in range(8)]
    with ThreadPoolExecutor(len(runners)) as pool:
        runs = list(pool.map(lambda i: finish(runners[i], b"%d" % i, expect=(0, 1)), range(len(runners))))
    assert sorted(code_of(run) for run in runs) == ["done"] + ["exists"] * 7, "\n".join(map(str, runs))
    winner = next(i for i, run in enumerate(runs) if run.rc == 0)
    assert bucket.get(f"{request.node.name}/k") == b"%d" % winner


# -- buckets that keep --------------------------------------------------------------------------------

def test_versions_are_deleted(gateway, tmp_path):
    bucket = gateway.bucket("pgcairn-versioned")
    bucket.set_versioning()
    tool = Tool(gateway, f"s3://{bucket.name}/p")
    for key in ("a", "a-b", "b", "c"):
        for content in (b"1", b"2"):
            bucket.put(f"p/{key}", content)
    bucket.delete("p/c")  # hidden behind a marker
    assert "versioning: on\n" in tool.run("traits").out
    tool.run("delete", "a")
    tool.run("delete", "b", "c", "absent")
    assert [key for key, *_ in bucket.versions("p/")] == ["p/a-b"] * 2


def test_locked_objects_stay(gateway, tmp_path):
    """The large one too, whose lock some services forget when it is put together from its parts."""
    bucket = gateway.bucket("pgcairn-locked", object_lock=True)
    tool = Tool(gateway, f"s3://{bucket.name}/p", object_lock="governance", retain_s=3600, retain=True)
    free = Tool(gateway, f"s3://{bucket.name}/p", object_lock="governance", retain_s=3600)
    (tmp_path / "in").write_bytes(LARGE)
    tool.run("put", "locked", "/dev/null")
    tool.run("put", "locked-large", tmp_path / "in")
    free.run("put", "free", "/dev/null")
    assert "object lock: yes\n" in tool.run("traits").out
    assert re.search(r"locked until: 20\d\d-", tool.run("stat", "locked-large").out)
    assert tool.run("stat", "free").out.endswith("locked until: \n")
    run = tool.run("delete", "locked", expect=1)
    assert code_of(run) == "locked" and "is locked until 20" in run.err, run
    run = tool.run("delete", "free", "locked", "locked-large", expect=1)
    assert code_of(run) == "locked" and run.out == "refused: locked\nrefused: locked-large\n", run
    assert sorted(key for key, *_ in bucket.versions("p/")) == ["p/locked", "p/locked-large"]
    bucket.empty()
