"""Receivers that people's messages go to, real servers on this machine: HTTP and SMTP, with TLS or without.

    with HttpReceiver() as http:                http.url("/hook") -> a URL; http.requests: what came
        http.answers = [503, 503, 200]          of one request each; the last stays; "hang" never answers
    with SmtpReceiver(tls=certificate) as smtp: smtp.url(); smtp.mails: of each sender, recipients, login, data
    certificate(folder)                         Certificate: .pem (with the key), .ca (what trusts it)
"""
import base64
import email
import email.policy
import http.server
import json
import socketserver
import ssl
import subprocess
import threading
from types import SimpleNamespace


def certificate(folder):
    """A certificate of localhost that signs itself."""
    key, ca, pem = folder / "tls.key", folder / "tls.crt", folder / "tls.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-keyout", key, "-out", ca], check=True, capture_output=True)
    pem.write_text(key.read_text() + ca.read_text())
    return SimpleNamespace(pem=pem, ca=ca)


def tls_context(cert):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert.pem)
    return context


class Receiver:
    """A server in threads of its own; every wait of a request ends with it."""

    def __init__(self, server, name="localhost"):
        self.server, self.name = server, name
        self.port = server.server_address[1]
        self.released = threading.Event()
        self.thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class HttpReceiver(Receiver):
    def __init__(self, tls=None):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(SimpleNamespace(path=self.path, headers=self.headers, body=body.decode()))
                receiver.answer(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *_):
                pass  # the other side has left

        server = Server(("127.0.0.1", 0), Handler)
        if tls:
            server.socket = tls_context(tls).wrap_socket(server.socket, server_side=True)
        super().__init__(server)
        self.scheme = "https" if tls else "http"
        self.requests, self.answers, self.reply, self.headers = [], [200], b"ok", {}

    def url(self, path):
        return f"{self.scheme}://{self.name}:{self.port}{path}"

    def answer(self, handler):
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == "hang":
            self.released.wait()
            return
        handler.send_response(status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.reply)

    @property
    def events(self):
        return [json.loads(r.body) for r in self.requests]


class SmtpReceiver(Receiver):
    """EHLO, STARTTLS, AUTH PLAIN and LOGIN, MAIL, RCPT, DATA: what a client of today needs (RFC 5321)."""

    def __init__(self, tls=None, implicit=False, login=None, refuse=None):
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                receiver.talk(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, block_on_close, allow_reuse_address = True, False, True

            def handle_error(self, *_):
                pass

        super().__init__(Server(("127.0.0.1", 0), Handler))
        self.tls, self.implicit, self.login = tls, implicit, login
        self.refuse = refuse or {}  # {recipient: "550 no such user"}
        self.mails, self.commands = [], []

    def url(self):
        return f"smtp{'s' if self.implicit else ''}://{self.name}:{self.port}"

    def talk(self, handler):
        stream = SimpleNamespace(read=handler.rfile, write=handler.wfile, is_tls=False)

        def secure():
            wrapped = tls_context(self.tls).wrap_socket(handler.connection, server_side=True)
            stream.read, stream.write, stream.is_tls = wrapped.makefile("rb"), wrapped.makefile("wb", 0), True

        def say(text):
            stream.write.write(text.encode() + b"\r\n")

        if self.implicit:
            secure()
        mail = SimpleNamespace(sender=None, to=[], login=None, data=b"", is_tls=stream.is_tls)
        say("220 localhost")
        while line := stream.read.readline():
            command = line.decode().strip()
            self.commands.append(command)
            word = command.split(" ")[0].upper()
            if word == "EHLO":
                offers = ["SIZE 1000000", *(["STARTTLS"] if self.tls and not stream.is_tls else []),
                          *(["AUTH PLAIN"] if self.login else [])]
                say("\r\n".join(["250-localhost", *(f"250-{o}" for o in offers[:-1]), f"250 {offers[-1]}"]))
            elif word == "STARTTLS" and self.tls:
                say("220 go on")
                secure()
                mail.is_tls = True
            elif word == "AUTH":
                given = command.split(" ")[2:]
                if not given:
                    say("334 ")
                    given = [stream.read.readline().decode().strip()]
                mail.login = tuple(base64.b64decode(given[0]).decode().split("\0")[1:])
                say("235 welcome" if mail.login == self.login else f"535 not {mail.login}")
            elif word == "MAIL":
                mail.sender = command.split("<")[1].split(">")[0]
                say("250 ok")
            elif word == "RCPT":
                to = command.split("<")[1].split(">")[0]
                if to in self.refuse:
                    say(self.refuse[to])
                else:
                    mail.to.append(to)
                    say("250 ok")
            elif word == "DATA":
                say("354 go on")
                lines = []
                while (line := stream.read.readline()) != b".\r\n":
                    assert line.endswith(b"\r\n"), line
                    lines.append(line[1:] if line.startswith(b"..") else line)
                mail.data = b"".join(lines)
                mail.message = email.message_from_bytes(mail.data, policy=email.policy.default)
                self.mails.append(mail)
                mail = SimpleNamespace(sender=None, to=[], login=mail.login, data=b"", is_tls=stream.is_tls)
                say("250 queued")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("502 what?")
