"""Requests to an ASGI application in this process, with any headers."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Scope

LOCAL = {"host": "localhost:3000"}


@dataclass(frozen=True)
class AsgiResponse:
    """The response; status 0 for a WebSocket that was closed before it opened, 101 for one that opened."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send_request(
    app: ASGIApp,
    method: str,
    path: str,
    headers: Mapping[str, str] | list[tuple[str, str]] = LOCAL,
    body: bytes = b"",
) -> AsgiResponse:
    """One HTTP request; `path` may have a query."""
    return asyncio.run(_send(app, {**_scope("http", path, headers), "method": method}, body))


def open_websocket(app: ASGIApp, path: str, headers: Mapping[str, str]) -> AsgiResponse:
    """Open a WebSocket and leave at once."""
    return asyncio.run(_send(app, {**_scope("websocket", path, headers), "subprotocols": []}, b""))


def _scope(kind: str, path: str, headers: Mapping[str, str] | list[tuple[str, str]]) -> Scope:
    path, _, query = path.partition("?")
    items = headers.items() if isinstance(headers, Mapping) else headers
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in items],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 3000),
    }


async def _send(app: ASGIApp, scope: Scope, body: bytes) -> AsgiResponse:
    sent: list[Message] = []
    is_http = scope["type"] == "http"
    received: list[Message] = (
        [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
        if is_http
        else [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    )

    async def receive() -> Message:
        return received.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not is_http:
        opened = any(message["type"] == "websocket.accept" for message in sent)
        return AsgiResponse(101 if opened else 0, {}, b"")
    start = next(message for message in sent if message["type"] == "http.response.start")
    parts = [message.get("body", b"") for message in sent if message["type"] == "http.response.body"]
    lowered = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    return AsgiResponse(start["status"], lowered, b"".join(parts))
