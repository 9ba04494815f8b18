"""An object store that fails now and then: an HTTP server in front of moto's S3."""

import random
import re
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Literal

import pytest
from typing_extensions import override

from storage import objects
from storage.remote.bucket import open_store

FaultKind = Literal[
    "error",  # 500, nothing done
    "busy",  # 503, nothing done
    "lost answer",  # done, answered by 500
    "reset",  # the connection is closed before an answer
    "cut upload",  # the connection is closed after half of the body; nothing is stored
    "cut answer",  # half of the body arrives
    "slow answer",  # the second half of the body comes later
    "timeout",  # no answer within the client's time limit
]
KINDS: Final[tuple[FaultKind, ...]] = (
    *("error", "busy", "lost answer", "reset", "cut upload", "cut answer", "slow answer"),
)
SLOW_SECONDS: Final = 0.2
TIMEOUT_SECONDS: Final = 2.0  # of a client with AWS_TIMEOUT=1s
CONTENTS: Final = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)


@dataclass
class Fault:
    """What happens to the next requests that match."""

    kind: FaultKind
    method: str = "PUT"
    path: str = ""  # a regular expression, found anywhere in the path and query
    times: int = 1


@dataclass
class FaultyStore:
    """The endpoint, and what goes wrong there."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    rate: float = 0.0  # share of all other requests that fail in a random way
    kinds: Sequence[FaultKind] = KINDS
    unlisted: str = ""  # listings leave out keys that match this regular expression
    injected: list[str] = field(default_factory=list)  # kind, method and path of each fault
    requests: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(5))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault_of(self, method: str, path: str) -> FaultKind | None:
        """The fault of a request; it counts as injected."""
        with self._lock:
            self.requests += 1
            kind = self._next(method, path)
            if kind is not None:
                self.injected.append(f"{kind} {method} {path}")
            return kind

    def _next(self, method: str, path: str) -> FaultKind | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault.kind
        return self._random.choice(self.kinds) if self._random.random() < self.rate else None

    def shown(self, path: str, body: bytes) -> bytes:
        """An answer's body without the keys that are not listed yet."""
        if not self.unlisted or "list-type=2" not in path:
            return body
        hidden = self.unlisted.encode()
        return CONTENTS.sub(lambda found: b"" if re.search(hidden, found[0]) else found[0], body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = FaultyStore("")  # both replaced by `faulty_store`
    upstream = ""

    @override
    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""

    def handle_request(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        kind = self.store.fault_of(self.command, self.path)
        if kind == "cut upload":
            self.rfile.read(length // 2)
            self._close()
            return
        body = self.rfile.read(length)
        if kind in ("error", "busy"):
            self._answer(500 if kind == "error" else 503, [], b"")
        elif kind == "reset":
            self._close()
        else:
            self._forward(kind, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_request  # noqa: N815

    def _forward(self, kind: FaultKind | None, body: bytes) -> None:
        connection = HTTPConnection(self.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            answer = self.store.shown(self.path, response.read())
            headers = response.getheaders()
        finally:
            connection.close()
        if kind == "timeout":
            time.sleep(TIMEOUT_SECONDS)
            self._close()
        elif kind == "lost answer":
            self._answer(500, [], b"")
        else:
            self._answer(response.status, headers, answer, kind)

    def _answer(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, kind: FaultKind | None = None
    ) -> None:
        self.send_response_only(status)
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        for name, value in headers:
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        head = self.command == "HEAD" and bool(lengths)
        self.send_header("Content-Length", lengths[0] if head else str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        if kind == "cut answer" and half:
            self._close()
            return
        if kind == "slow answer":
            self.wfile.flush()
            time.sleep(SLOW_SECONDS)
        self.wfile.write(body[half:])

    def _close(self) -> None:
        self.wfile.flush()
        self.close_connection = True


@contextmanager
def faulty_store(upstream: str) -> Generator[FaultyStore]:
    """Serve an S3 endpoint on a free port of the loopback interface, without faults at first."""
    handler = type("Handler", (_Handler,), {"upstream": upstream.removeprefix("http://")})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        store = FaultyStore(f"http://127.0.0.1:{server.server_port}")
        handler.store = store
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()


def give_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer retries, so that a store that is down is found to be down within a second."""
    monkeypatch.setattr(objects, "open_store", lambda location, **_: open_store(location, patient=False))
