"""S3 for the tests: a client of their own, and a service to talk to. Standard library only.

    service = Service.start()                    Ceph's gateway by tests/s3/server.sh, some 2 s
    service = Service.from_environment()         the one that PGCAIRN_TEST_S3_* name; None without
    bucket = service.bucket("tests")             made when it is absent
    bucket.put("a/b", b"..."); bucket.get("a/b"); bucket.keys("a/")
    service.stop()                               always; should the tests die, it stops by itself

The client looks at what pgcairn has stored, and damages it, without pgcairn. It tries nothing again.
"""
import base64
import hashlib
import hmac
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

from pg import clean_environment

SERVER = Path(__file__).resolve().parents[1] / "s3/server.sh"
SECRET = "pgcairn-test-s3-secret"
BATCH = 1000  # keys per page and per batch delete, as S3 has it
UNRESERVED = "-._~"


class S3Error(Exception):
    """What the service answered instead: .status, .code, .message."""

    def __init__(self, what, status, code, message):
        super().__init__(f"{what}: {status} {code}: {message}")
        self.status, self.code, self.message = status, code, message


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def xml(self):
        """The document without its namespace."""
        return ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", self.body, count=1))


def sign(method, path, query, headers, sha256, region, access_key_id, secret):
    """Adds to headers what signature version 4 asks for (AWS General Reference, "Signing AWS API
    requests"); path and query are encoded, the query sorted."""
    now = time.gmtime()
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", now), time.strftime("%Y%m%d", now)
    headers.update({"x-amz-date": stamp, "x-amz-content-sha256": sha256})
    lower = {k.lower(): " ".join(str(v).split()) for k, v in headers.items()}
    names = ";".join(sorted(lower))
    canonical = "\n".join([method, path, query, *(f"{k}:{lower[k]}" for k in sorted(lower)), "", names, sha256])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, "
                                f"SignedHeaders={names}, Signature={signature}")


class Client:
    """Signed requests to one endpoint, by path. One warm connection per thread."""

    def __init__(self, endpoint, region, access_key_id, secret, ca_file=None):
        self.endpoint, self.region = endpoint.rstrip("/"), region
        self.access_key_id, self.secret, self.ca_file = access_key_id, secret, ca_file
        self.local = threading.local()

    def _connection(self):
        if getattr(self.local, "connection", None) is None:
            url = urlsplit(self.endpoint)
            if url.scheme == "https":
                self.local.connection = http.client.HTTPSConnection(
                    url.hostname, url.port, timeout=60, context=ssl.create_default_context(cafile=self.ca_file))
            else:
                self.local.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        return self.local.connection

    def _exchange(self, method, target, headers, body):
        connection = self._connection()
        try:
            connection.request(method, target, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        except (OSError, http.client.HTTPException):
            connection.close()
            self.local.connection = None
            raise

    def request(self, method, bucket, key="", query=None, headers=None, body=b"", expect=range(200, 300)):
        """One request. Raises S3Error unless the status is one that is expected."""
        path = quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/" + UNRESERVED)
        text = "&".join(f"{quote(k, safe=UNRESERVED)}={quote(str(v), safe=UNRESERVED)}"
                        for k, v in sorted((query or {}).items()))
        headers = {"Host": urlsplit(self.endpoint).netloc, **(headers or {})}
        if body:
            headers["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        sign(method, path, text, headers, hashlib.sha256(body).hexdigest(), self.region, self.access_key_id, self.secret)
        target = f"{path}?{text}" if text else path
        try:
            reply = self._exchange(method, target, headers, body)
        except (ConnectionError, http.client.BadStatusLine):
            reply = self._exchange(method, target, headers, body)  # the warm connection had ended
        if reply.status not in expect:
            code = re.search(rb"<Code>(.*?)</Code>", reply.body)
            message = re.search(rb"<Message>(.*?)</Message>", reply.body)
            raise S3Error(f"{method} {path}?{text}", reply.status, code.group(1).decode() if code else "",
                          message.group(1).decode() if message else "")
        return reply


def text_of(element, name):
    return element.findtext(name, default="")


class Bucket:
    """One bucket; keys are whole."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def request(self, method, key="", query=None, **options):
        return self.client.request(method, self.name, key, query, **options)

    def create(self, object_lock=False):
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if object_lock else {}
        body = b""
        if self.client.region != "us-east-1":
            body = (f"<CreateBucketConfiguration><LocationConstraint>{self.client.region}</LocationConstraint>"
                    f"</CreateBucketConfiguration>").encode()
        self.request("PUT", headers=headers, body=body)
        return self

    def exists(self):
        return self.request("HEAD", expect=(200, 404)).status == 200

    # -- objects --

    def put(self, key, data, **headers):
        """Header names with _ for -: put(key, data, x_amz_storage_class="GLACIER")."""
        return self.request("PUT", key, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=data)

    def get(self, key, version=None):
        return self.request("GET", key, {"versionId": version} if version else {}).body

    def head(self, key):
        """The headers, or None when there is no such object."""
        reply = self.request("HEAD", key, expect=(200, 404))
        return reply.headers if reply.status == 200 else None

    def delete(self, key, version=None, bypass=False):
        headers = {"x-amz-bypass-governance-retention": "true"} if bypass else {}
        self.request("DELETE", key, {"versionId": version} if version else {}, headers=headers)

    def delete_many(self, keys):
        keys = list(keys)
        for at in range(0, len(keys), BATCH):
            body = "".join(f"<Object><Key>{escape(k)}</Key></Object>" for k in keys[at:at + BATCH])
            reply = self.request("POST", query={"delete": ""}, body=f"<Delete><Quiet>true</Quiet>{body}</Delete>".encode())
            failed = [text_of(e, "Key") for e in reply.xml.iter("Error")]
            assert not failed, f"not deleted: {failed}"

    # -- listings: each page asks for the next --

    def _pages(self, query, follow):
        while True:
            page = self.request("GET", query=query).xml
            yield page
            if text_of(page, "IsTruncated") != "true":
                return
            query = {**query, **{name: text_of(page, element) for name, element in follow.items()}}

    def objects(self, prefix=""):
        """{key: size}, in the order of the service."""
        found = {}
        for page in self._pages({"list-type": 2, "prefix": prefix}, {"continuation-token": "NextContinuationToken"}):
            found.update((text_of(e, "Key"), int(text_of(e, "Size"))) for e in page.iter("Contents"))
        return found

    def keys(self, prefix=""):
        return list(self.objects(prefix))

    def versions(self, prefix=""):
        """[(key, version id, is a delete marker)]"""
        found = []
        for page in self._pages({"versions": "", "prefix": prefix},
                                {"key-marker": "NextKeyMarker", "version-id-marker": "NextVersionIdMarker"}):
            found += [(text_of(e, "Key"), text_of(e, "VersionId"), e.tag == "DeleteMarker")
                      for e in page if e.tag in ("Version", "DeleteMarker")]
        return found

    # -- multipart uploads --

    def uploads(self, prefix=""):
        """[(key, upload id)] of those that were begun and not ended."""
        found = []
        for page in self._pages({"uploads": "", "prefix": prefix},
                                {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}):
            found += [(text_of(e, "Key"), text_of(e, "UploadId")) for e in page.iter("Upload")]
        return found

    def begin_upload(self, key):
        return text_of(self.request("POST", key, {"uploads": ""}).xml, "UploadId")

    def put_part(self, key, upload, number, data):
        return self.request("PUT", key, {"partNumber": number, "uploadId": upload}, body=data).headers["ETag"]

    def abort(self, key, upload):
        self.request("DELETE", key, {"uploadId": upload})

    # -- what the bucket does by itself --

    def set_versioning(self, on=True):
        status = "Enabled" if on else "Suspended"
        self.request("PUT", query={"versioning": ""},
                     body=f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode())

    def set_default_lock(self, mode, days):
        self.request("PUT", query={"object-lock": ""}, body=(
            f"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
            f"<Mode>{mode}</Mode><Days>{days}</Days></DefaultRetention></Rule></ObjectLockConfiguration>").encode())

    def set_lifecycle(self, *rules):
        """rules: the inside of a <Rule> each."""
        self.request("PUT", query={"lifecycle": ""}, body=(
            "<LifecycleConfiguration>" + "".join(f"<Rule>{r}</Rule>" for r in rules)
            + "</LifecycleConfiguration>").encode())

    def retention(self, key):
        """(mode, until) or None."""
        reply = self.request("GET", key, {"retention": ""}, expect=(200, 404, 400))
        return (text_of(reply.xml, "Mode"), text_of(reply.xml, "RetainUntilDate")) if reply.status == 200 else None

    def empty(self, prefix=""):
        """Removes everything: uploads, versions, objects, where a governance lock is on them too."""
        for key, upload in self.uploads(prefix):
            self.abort(key, upload)
        for key, version, _ in self.versions(prefix):
            self.delete(key, version, bypass=True)
        self.delete_many(self.keys(prefix))


def free_ports():
    """The first of two neighbours that are free: the gateway's and its monitor's."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                return port
            except (OSError, OverflowError):
                continue


def make_certificate(folder):
    """A certificate for localhost that is its own authority."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key.pem",
                    "-out", folder / "cert.pem"], check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


class Service:
    """An S3 service: where it is, who we are there, and how to stop it if it is ours."""

    def __init__(self, endpoint, region, access_key_id, secret, ca_file=None, folder=None):
        self.endpoint, self.region, self.ca_file = endpoint, region, ca_file
        self.access_key_id, self.secret, self.folder = access_key_id, secret, folder
        self.client = Client(endpoint, region, access_key_id, secret, ca_file)
        self.bucket_name = "pgcairn-tests"

    @classmethod
    def from_environment(cls):
        settings = {name: os.environ.get(f"PGCAIRN_TEST_S3_{name}", "") for name in (
            "ENDPOINT", "REGION", "BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "CA_FILE")}
        if not settings["ENDPOINT"]:
            return None
        service = cls(settings["ENDPOINT"], settings["REGION"] or "us-east-1", settings["ACCESS_KEY_ID"],
                      settings["SECRET_ACCESS_KEY"], settings["CA_FILE"] or None)
        service.bucket_name = settings["BUCKET"] or service.bucket_name
        return service

    @classmethod
    def start(cls, tls=False):
        """tls: True for a certificate of our own, or the files of one and of its key."""
        folder = Path(tempfile.mkdtemp(prefix="pgcairn-s3-"))
        try:
            port, certificate = free_ports(), (None, None)
            if tls:
                certificate = make_certificate(folder) if tls is True else tls
            service = cls(f"{'https' if tls else 'http'}://localhost:{port}", "us-east-1", "pgcairn-test-key", SECRET,
                          certificate[0], folder)
            service.env = clean_environment(
                S3_DIR=str(folder), S3_PORT=str(port), S3_AK=service.access_key_id, S3_SK=SECRET, S3_OWNER=str(os.getpid()),
                **({"S3_TLS_CERT": str(certificate[0]), "S3_TLS_KEY": str(certificate[1])} if tls else {}))
            service.script("start")
            return service
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @property
    def is_ours(self):
        return self.folder is not None

    @property
    def address(self):
        """(host, port) of an endpoint that is ours."""
        url = urlsplit(self.endpoint)
        return url.hostname, url.port

    def script(self, word):
        done = subprocess.run(["sh", SERVER, word], env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"server.sh {word}: {done.stderr}"

    def stop(self):
        if self.is_ours:
            self.script("stop")
            shutil.rmtree(self.folder, ignore_errors=True)

    def bucket(self, name=None, **options):
        bucket = Bucket(self.client, name or self.bucket_name)
        return bucket if bucket.exists() else bucket.create(**options)

    def environment(self):
        """Who we are, as the AWS tools and pgcairn take it."""
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret}

    def policy(self, **changes):
        """The section repository.s3 of a policy."""
        return {"endpoint": self.endpoint, "region": self.region,
                **({"ca_file": str(self.ca_file)} if self.ca_file else {}), **changes}

    def variables(self):
        """PGCAIRN_TEST_S3_*: how other test programs find this service."""
        return {f"PGCAIRN_TEST_S3_{name}": str(value or "") for name, value in (
            ("ENDPOINT", self.endpoint), ("REGION", self.region), ("BUCKET", self.bucket_name),
            ("ACCESS_KEY_ID", self.access_key_id), ("SECRET_ACCESS_KEY", self.secret), ("CA_FILE", self.ca_file))}
