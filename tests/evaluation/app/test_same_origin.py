"""`SameOriginMiddleware` in front of a toy application."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from evaluation.app.same_origin import SameOriginMiddleware
from tests.factories.evaluation.asgi import LOCAL, open_websocket, send_request

JSON = {"content-type": "application/json"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.fixture
def app() -> Starlette:
    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("served")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()

    guard = Middleware(SameOriginMiddleware, ("Pdfgc.example.org",), "; allow it", ("/api",))
    methods = ["GET", "POST", "PUT", "DELETE"]
    routes = [Route("/{path:path}", page, methods=methods), WebSocketRoute("/socket", socket)]
    return Starlette(routes=routes, middleware=[guard])


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "127.0.0.1:1", "[::1]:3000", "pdfgc.example.org:8443"]
)
def test_allowed_hosts_are_served(app: Starlette, host: str) -> None:
    response = send_request(app, "GET", "/", {"host": host})
    assert (response.status, response.body) == (200, b"served")
    assert response.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    "host",
    [
        *(
            "attacker.example",
            "localhost.attacker.example:3000",
            "127.0.0.1.nip.io",
            "localhost.",
            "10.0.0.1",
        ),
        *(
            "",
            "localhost:port",
            "[::1",
            "user@localhost",
            "localhost/path",
            "localhost:3000, attacker.example",
        ),
    ],
)
def test_foreign_hosts_are_refused(app: Starlette, host: str) -> None:
    response = send_request(app, "GET", "/", {"host": host})
    assert response.status == 403
    assert b"is not allowed; allow it" in response.body


def test_request_needs_exactly_one_host(app: Starlette) -> None:
    assert send_request(app, "GET", "/", {}).status == 403
    assert send_request(app, "GET", "/", [("host", "localhost"), ("host", "localhost")]).status == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("pdfgc.example.org", "https://pdfgc.example.org"),  # a proxy that ends TLS
        ("pdfgc.example.org:443", "https://pdfgc.example.org"),
    ],
)
def test_own_origin_is_served(app: Starlette, host: str, origin: str) -> None:
    headers = {"host": host, "origin": origin}
    for site in ({"sec-fetch-site": "same-origin"}, {}):
        assert send_request(app, "POST", "/", headers | JSON | site).status == 200
    assert open_websocket(app, "/socket", headers).status == 101


@pytest.mark.parametrize(
    "origin",
    [
        *("https://attacker.example", "null", "", "http://localhost", "http://localhost:3001"),
        *("https://localhost:3000.attacker.example", "http://127.0.0.1:3000", "file://localhost:3000"),
        *("http://localhost:3000@attacker.example", "localhost:3000", "http://[::1"),
    ],
)
def test_foreign_origins_are_refused(app: Starlette, origin: str) -> None:
    headers = LOCAL | {"origin": origin}
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert send_request(app, method, "/", headers | JSON).status == 403
    assert open_websocket(app, "/socket", headers).status == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unknown"])
def test_requests_of_other_sites_are_refused(app: Starlette, site: str) -> None:
    image = LOCAL | {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert send_request(app, "GET", "/", image).status == 403
    frame = LOCAL | LINK | {"sec-fetch-site": site, "sec-fetch-dest": "iframe"}
    assert send_request(app, "GET", "/", frame).status == 403
    assert open_websocket(app, "/socket", image).status == 0


def test_links_of_other_sites_to_pages_are_served(app: Starlette) -> None:
    assert send_request(app, "GET", "/runs/1", LOCAL | LINK).status == 200  # as in the webhook's messages
    assert send_request(app, "GET", "/api", LOCAL | LINK).status == 403
    assert send_request(app, "POST", "/runs/1", LOCAL | LINK | JSON).status == 403
    typed = LOCAL | LINK | {"sec-fetch-site": "none"}
    assert send_request(app, "GET", "/api", typed).status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "text/plain", "application/x-www-form-urlencoded", "application/graphql"),
        *("text/plain; application/json", "application/jsonx", "multipart/form-data; boundary=x"),
    ],
)
def test_post_needs_json(app: Starlette, content_type: str) -> None:
    response = send_request(app, "POST", "/", LOCAL | {"content-type": content_type})
    assert response.status == 415
    assert b"content type must be application/json, got" in response.body


def test_post_of_a_program_is_served(app: Starlette) -> None:
    json_utf8 = LOCAL | {"content-type": "Application/JSON; charset=utf-8"}
    assert send_request(app, "POST", "/", json_utf8).status == 200
    assert open_websocket(app, "/socket", LOCAL).status == 101
