"""Refuses requests that a foreign web page makes a browser send to a server on this machine.

A server without a login trusts whoever reaches it, and any page that a browser shows reaches localhost.
Browsers name the page's origin in `Origin` and `Sec-Fetch-Site`, and the name in the address bar in `Host`; a
page can change none of the three.
"""

from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
POLICY_VIOLATION: Final = 1008  # WebSocket close code

Refusal = tuple[int, str]
"""HTTP status and the reason in one sentence."""


class SameOriginMiddleware:
    """Serves requests of the server's own pages and of programs, and answers all others with 403 or 415.

    - `Host` must be a loopback name or an allowed one: against DNS rebinding.
    - `Origin` must be the origin of `Host`, also for WebSockets.
    - `Sec-Fetch-Site` must be same-origin or none, except for links to a page.
    - POST needs the content type application/json, which no form can send.

    No other site may show the pages in a frame.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_names: Iterable[str] = (),
        how_to_allow: str = "",
        api: Collection[str] = (),
        readers: Collection[str] = (),
    ) -> None:
        """Put it in front of an application.

        Args:
            app: the application.
            allowed_names: host names without port that are served beside the loopback names.
            how_to_allow: end of the sentence that refuses a name.
            api: ends of paths that no other site may link to.
            readers: starts of paths where POST only reads, and may have any content type.
        """
        self._app = app
        self._names = LOOPBACK_NAMES | {name.lower() for name in allowed_names}
        self._how_to_allow = how_to_allow
        self._api, self._readers = tuple(api), tuple(readers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse a request."""
        if scope["type"] not in ("http", "websocket"):  # lifespan
            return await self._app(scope, receive, send)
        refusal = self._refusal(scope)
        if refusal is None:
            return await self._app(scope, receive, _without_foreign_frames(send))
        return await refuse(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        name, _ = _name_and_port(host, scope["scheme"])
        if name not in self._names:
            return 403, f"host {host!r} is not allowed{self._how_to_allow}"
        for origin in headers.getlist("origin"):
            if not _is_origin_of(origin, host):
                return 403, f"requests of pages of {origin!r} are not allowed, only of this server's ({host})"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not self._is_link(scope):
            return 403, "requests of other sites are not allowed, except links to a page"
        if scope["path"].startswith(self._readers) and ".." not in scope["path"]:
            return None
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["type"] == "http" and scope["method"] == "POST" and content_type != "application/json":
            return 415, f"content type must be application/json, got {content_type!r}"
        return None

    def _is_link(self, scope: Scope) -> bool:
        """Whether a person followed a link of another site to a page."""
        headers = Headers(scope=scope)
        return (
            scope["type"] == "http"
            and scope["method"] in ("GET", "HEAD")
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
            and not scope["path"].endswith(self._api)
        )


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with an error, as JSON; a WebSocket is closed before it opens."""
    status, reason = refusal
    if scope["type"] == "websocket":
        await WebSocketClose(POLICY_VIOLATION, reason)(scope, receive, send)
    else:
        await JSONResponse({"error": reason}, status)(scope, receive, send)


def _name_and_port(netloc: str, scheme: str) -> tuple[str, int | None]:
    """Lower-case name and port of a `host:port`; ("", None) if it is none."""
    try:
        parts = urlsplit(f"//{netloc}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return "", None
    if parts.netloc != netloc or "@" in netloc:  # a path, a query, a user
        return "", None
    return name, port or DEFAULT_PORTS.get(scheme)


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether an origin such as https://host:3000 is that of the pages of a host.

    Behind a proxy that ends TLS the scheme of the request is not that of the page, so a default port counts
    by the scheme of the origin.
    """
    scheme, separator, netloc = origin.partition("://")
    origin_name, origin_port = _name_and_port(netloc, scheme)
    is_web = bool(separator) and scheme in ("http", "https") and origin_name != ""
    return is_web and (origin_name, origin_port) == _name_and_port(host, scheme)


def _without_foreign_frames(send: Send) -> Send:
    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return send_with_header
