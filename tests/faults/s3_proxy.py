"""A proxy between an S3 client and its service that makes faults where a test asks for them.

    proxy = Proxy("localhost", 9000)                     the service; plain HTTP
    proxy.add("part", drop_reply)                        every part, for ever
    proxy.add("get", answer(503, "SlowDown"), first=2, times=1)     the second get, once
    ... a client talks to proxy.endpoint ...
    proxy.counts["part"]; proxy.fired                    requests seen; faults made
    proxy.stop()

Kinds of requests: put, part, create, complete, abort, get, head, delete (one object), list, uploads,
versions, versioning, batch (deletes many), other. The Host header is passed on as the client signed
it. A fault is a function of one Exchange that does what else plain() would do.
"""
import http.client
import re
import socket
import struct
import threading
import time
from collections import Counter
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

LINE_MAX = 64 << 10
ENDS_WITH_HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")


class Cut(Exception):
    """The connection to the client ends here."""


def kind_of(method, target):
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    if "/" in url.path.strip("/"):  # bucket and key
        if "uploadId" in query:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(method, "other")
        if "uploads" in query:
            return "create"
        return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}.get(method, "other")
    if method == "POST" and "delete" in query:
        return "batch"
    if method == "GET":
        return next((kind for name, kind in (("list-type", "list"), ("uploads", "uploads"), ("versions", "versions"),
                                             ("versioning", "versioning")) if name in query), "other")
    return "other"


class Exchange:
    """One request and its reply, as far as they have come."""

    def __init__(self, proxy, client, incoming, upstream):
        self.proxy, self.client, self.incoming, self.upstream = proxy, client, incoming, upstream
        self.body, self.reply_body, self.status, self.reason, self.reply_headers = b"", b"", 0, "", []

    def read_head(self):
        """False when the client has ended the connection."""
        line = self.incoming.readline(LINE_MAX).decode()
        if not line.strip():
            return False
        self.method, self.target, _ = line.split()
        self.headers = []
        while (line := self.incoming.readline(LINE_MAX).decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            self.headers.append((name, value.strip()))
        self.length = int(next((v for n, v in self.headers if n.lower() == "content-length"), "0"))
        self.kind = kind_of(self.method, self.target)
        return True

    def read_body(self, limit=None):
        wanted = self.length if limit is None else min(limit, self.length)
        self.body = self.incoming.read(wanted)
        if len(self.body) < wanted:
            raise Cut

    def forward(self):
        """Sends the request on and takes the reply, whole."""
        self.upstream.putrequest(self.method, self.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers:
            self.upstream.putheader(name, value)
        self.upstream.endheaders(self.body)
        reply = self.upstream.getresponse()
        self.reply_body = reply.read()
        self.status, self.reason = reply.status, reply.reason
        self.reply_headers = [(n, v) for n, v in reply.getheaders() if n.lower() not in ENDS_WITH_HOP]
        if self.method == "HEAD":
            self.reply_headers.append(("Content-Length", reply.getheader("Content-Length", "0")))

    def set_header(self, name, value):
        self.reply_headers = [(n, v) for n, v in self.reply_headers if n.lower() != name.lower()] + [(name, value)]

    def reply_bytes(self, length=None):
        """length: what Content-Length shall say."""
        headers = list(self.reply_headers)
        if self.method != "HEAD":
            headers.append(("Content-Length", str(len(self.reply_body) if length is None else length)))
        head = f"HTTP/1.1 {self.status} {self.reason}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n"
        return head.encode("latin-1"), b"" if self.method == "HEAD" else self.reply_body

    def send(self, data):
        self.client.sendall(data)

    def reply(self):
        head, body = self.reply_bytes()
        self.send(head + body)

    def wait(self, seconds):
        self.proxy.stopped.wait(seconds)

    def cut(self, hard=True):
        """Ends the connection: by a reset, or as a server does that is done."""
        if hard:
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Cut


# -- faults -------------------------------------------------------------------------------------------

def plain(exchange):
    exchange.read_body()
    exchange.forward()
    exchange.reply()


def answer(status, code="", *, headers=(), body=None):
    """Says so instead of the service, which never sees the request. Without a code: a page of some
    proxy's."""
    document = (f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by the proxy</Message></Error>" if code
                else "<html><body>try later</body></html>") if body is None else body

    def fault(exchange):
        exchange.read_body()
        exchange.status, exchange.reason = status, "By Proxy"
        exchange.reply_headers = [("Content-Type", "application/xml" if code else "text/html"), *(
            headers() if callable(headers) else headers)]
        exchange.reply_body = document.encode()
        exchange.reply()
    return fault


def skewed(seconds=7200):
    """The service's clock is that far ahead, it says."""
    return answer(403, "RequestTimeTooSkewed", headers=lambda: [("Date", formatdate(time.time() + seconds, usegmt=True))])


def cut_request(share=0.5):
    """Reads that share of the body and resets."""
    def fault(exchange):
        exchange.read_body(int(exchange.length * share))
        exchange.cut()
    return fault


def drop_reply(exchange):
    """The service has done it, and nobody is told."""
    exchange.read_body()
    exchange.forward()
    exchange.cut()


def cut_reply_head(exchange):
    exchange.read_body()
    exchange.forward()
    exchange.send(exchange.reply_bytes()[0][:30])
    exchange.cut(hard=False)


def half_of(body):
    return body[:max(1, len(body) // 2)]


def cut_reply_body(exchange):
    """Half of the bytes that Content-Length promises."""
    exchange.read_body()
    exchange.forward()
    head, body = exchange.reply_bytes()
    exchange.send(head + half_of(body))
    exchange.cut(hard=False)


def shorten_reply(exchange):
    """Half of the bytes, and Content-Length says that these are all."""
    exchange.read_body()
    exchange.forward()
    exchange.reply_body = half_of(exchange.reply_body)
    exchange.reply()


def stall(seconds):
    """Takes the request and says nothing."""
    def fault(exchange):
        exchange.read_body()
        exchange.wait(seconds)
        exchange.cut()
    return fault


def stall_request(seconds):
    """Takes half of the request and no more."""
    def fault(exchange):
        exchange.read_body(exchange.length // 2)
        exchange.wait(seconds)
        exchange.cut()
    return fault


def stall_reply(seconds):
    """Half of the reply, and then nothing."""
    def fault(exchange):
        exchange.read_body()
        exchange.forward()
        head, body = exchange.reply_bytes()
        exchange.send(head + half_of(body))
        exchange.wait(seconds)
        exchange.cut()
    return fault


def delay(seconds):
    """Slow, but right."""
    def fault(exchange):
        exchange.read_body()
        exchange.wait(seconds)
        exchange.forward()
        exchange.reply()
    return fault


WRONG_ETAG = "0123456789abcdef0123456789abcdef"


def wrong_etag(exchange):
    """In the header, or in the document where it is there (complete)."""
    exchange.read_body()
    exchange.forward()
    if exchange.kind == "complete":
        exchange.reply_body = re.sub(rb"<ETag>.*?</ETag>", f"<ETag>{WRONG_ETAG}-3</ETag>".encode(), exchange.reply_body)
    else:
        exchange.set_header("ETag", f'"{WRONG_ETAG}"')
    exchange.reply()


def flipped(body):
    at = len(body) // 2
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]


def flip_request(exchange):
    exchange.read_body()
    exchange.body = flipped(exchange.body)
    exchange.forward()
    exchange.reply()


def flip_reply(exchange):
    exchange.read_body()
    exchange.forward()
    exchange.reply_body = flipped(exchange.reply_body)
    exchange.reply()


# -- the proxy ----------------------------------------------------------------------------------------

class Rule:
    def __init__(self, kind, fault, first, times):
        self.kind, self.fault, self.first, self.times, self.made = kind, fault, first, times, 0

    def applies(self, kind, number):
        return self.kind == kind and number >= self.first and (self.times is None or self.made < self.times)


class Proxy:
    def __init__(self, host, port, listening=True):
        self.upstream = (host, port)
        self.counts, self.rules, self.clients = Counter(), [], set()
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))  # until it listens, the port refuses
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        if listening:
            self.listen()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def listen(self):
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def add(self, kind, fault, first=1, times=None):
        self.rules.append(Rule(kind, fault, first, times))

    @property
    def fired(self):
        return sum(rule.made for rule in self.rules)

    def stop(self):
        self.stopped.set()
        with self.lock:
            clients = list(self.clients)
        for connection in (self.listener, *clients):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it was over already
        self.listener.close()

    def _accept(self):
        while not self.stopped.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _choose(self, kind):
        with self.lock:
            self.counts[kind] += 1
            for rule in self.rules:
                if rule.applies(kind, self.counts[kind]):
                    rule.made += 1
                    return rule.fault
        return plain

    def _serve(self, client):
        with self.lock:
            self.clients.add(client)
        upstream = http.client.HTTPConnection(*self.upstream)
        incoming = client.makefile("rb")
        try:
            while True:
                exchange = Exchange(self, client, incoming, upstream)
                if not exchange.read_head():
                    break
                self._choose(exchange.kind)(exchange)
        except (Cut, OSError, http.client.HTTPException):
            pass  # the client sees a connection that has ended
        finally:
            with self.lock:
                self.clients.discard(client)
            upstream.close()
            incoming.close()
            client.close()
