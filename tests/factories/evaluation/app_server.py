"""`pdfgc app` served on a free port, and a client for it."""

import http.client
import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from uuid import uuid4

from evaluation.app.handlers import AppSettings
from evaluation.app.server import address, bind, make_server


@dataclass(frozen=True)
class HttpResponse:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class AppClient:
    address: str
    page: str = field(default_factory=lambda: str(uuid4()))  # its id

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> HttpResponse:
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=30)
        try:
            dashed = {"page-id": self.page}
            dashed |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, dashed)
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return HttpResponse(response.status, response.read(), lowered)
        finally:
            connection.close()

    def upload(self, name: str, content: bytes = b"content") -> str:
        """Upload a file; returns its id."""
        return self.request("PUT", f"/files?name={name}", content).json["file"]

    def create_video(self, **body: Any) -> HttpResponse:
        return self.request("POST", "/videos", json.dumps(body).encode(), content_type="application/json")

    def wait(self, name: str) -> Any:
        """Poll until the job has ended; returns its final status."""
        deadline = time.monotonic() + 60.0
        while (job := self.request("GET", f"/videos/{name}").json)["state"] == "running":
            assert time.monotonic() < deadline, f"{name} still runs: {job}"
            time.sleep(0.05)
        return job


@contextmanager
def serve_app(settings: AppSettings) -> Generator[AppClient]:
    server = make_server(settings)
    with bind(0) as server_socket:
        thread = Thread(target=server.run, kwargs={"sockets": [server_socket]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield AppClient(address(server_socket))
        finally:
            server.should_exit = True
            thread.join()
