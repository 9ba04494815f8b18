"""The page of `pdfgc app`, served to a test."""

import http.client
import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from evaluation.app.page import PageSettings
from evaluation.app.server import address, bind, make_server


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Page:
    address: str

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=30)
        try:
            told = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, told)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        finally:
            connection.close()

    def send(self, name: str, content: bytes = b"content") -> str:
        return self.ask("PUT", f"/files?name={name}", content).json["file"]

    def order(self, **told: Any) -> Answer:
        return self.ask("POST", "/videos", json.dumps(told).encode(), content_type="application/json")

    def wait(self, name: str) -> Any:
        end = time.monotonic() + 60.0
        while (told := self.ask("GET", f"/videos/{name}").json)["state"] == "making":
            assert time.monotonic() < end, f"{name} is being made for ever: {told}"
            time.sleep(0.05)
        return told


@contextmanager
def served(settings: PageSettings) -> Generator[Page]:
    server = make_server(settings)
    with bind(0) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield Page(address(listening))
        finally:
            server.should_exit = True
            thread.join()
