"""A web server for downloads, with the faults that real ones have, and a proxy that only forwards."""

import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from typing_extensions import override


@dataclass
class Plan:
    """What a server answers, and what it was asked."""

    content: bytes
    tag: str = '"one"'
    cut_after: list[int] = field(default_factory=list)  # bytes of one answer each, then the connection ends
    statuses: list[int] = field(default_factory=list)  # of the first answers, before any content
    content_type: str = "application/octet-stream"
    knows_ranges: bool = True
    tells_length: bool = True
    gate: threading.Event | None = None  # waits for it in the middle of an answer
    ranges: list[str | None] = field(default_factory=list)  # asked for


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    plan = Plan(b"")  # the server's own takes its place

    def do_GET(self) -> None:
        plan = self.plan
        asked = self.headers.get("Range")
        plan.ranges.append(asked)
        if plan.statuses:
            self.send_response(plan.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start(asked)
        if start > len(plan.content) or (start and start == len(plan.content)):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(start)

    def _start(self, asked: str | None) -> int:
        same = self.headers.get("If-Range") in (None, self.plan.tag)
        if asked is None or not self.plan.knows_ranges or not same:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, start: int) -> None:
        plan = self.plan
        whole = plan.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(plan.content) - 1}/{len(plan.content)}")
        if plan.tells_length:
            self.send_header("Content-Length", str(len(whole)))
        if plan.tag:
            self.send_header("ETag", plan.tag)
        self.send_header("Content-Type", plan.content_type)
        self.send_header("Connection", "close")
        self.end_headers()
        sent = whole[: plan.cut_after.pop(0)] if plan.cut_after else whole
        half = len(sent) // 2 if plan.gate is not None else len(sent)
        self.wfile.write(sent[:half])
        self.wfile.flush()
        if plan.gate is not None:
            plan.gate.wait(20)
            self.wfile.write(sent[half:])
        self.close_connection = True

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Proxy(BaseHTTPRequestHandler):
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.path) as answer:
            content = answer.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed in the middle


@contextmanager
def served(plan: Plan) -> Generator[str, None, None]:
    """The address of a server that answers every path as planned."""
    handler = type("Handler", (_Handler,), {"plan": plan})
    with _running(handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def proxy(seen: list[str]) -> Generator[str, None, None]:
    """The address of a proxy; it notes what it is asked for."""
    handler = type("Proxy", (_Proxy,), {"seen": seen})
    with _running(handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler]) -> Generator[int, None, None]:
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
