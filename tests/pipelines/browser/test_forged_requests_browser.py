"""A page of another origin, in a browser, tries to launch a run in the UI of `pdfgc dev`."""

import json
import time
from collections.abc import Generator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from typing_extensions import override

from tests.factories.pipelines.dev_server import dev_server

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as PlaywrightError

from tests.factories.pipelines.browser import headless_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]
START_TIMEOUT_SECONDS = 300  # generous, for a busy machine
LAUNCH = """mutation {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "pdfgc", repositoryName: "__repository__",
      jobName: "reprocess_stale"
    },
    runConfigData: {ops: {}}, mode: "default"
  }) { __typename }
}"""
RUNS = """{ runsOrError(filter: {pipelineName: "reprocess_stale"}) { ... on Runs { results { runId } } } }"""
FORGE = """async ([url, query]) => {
    const outcome = {};
    const tried = (name, attempt) => attempt.then(
        (value) => { outcome[name] = value; }, (error) => { outcome[name] = error.name; });
    const json = JSON.stringify({ query });
    const get = `${url}/graphql?query=${encodeURIComponent(query)}`;
    const ended = (element, property, value) => new Promise((resolve) => {
        for (const event of ["load", "error", "close", "open"]) {
            element.addEventListener(event, () => resolve(event));
        }
        element[property] = value;
    });
    await tried("image", ended(new Image(), "src", get));
    const frame = Object.assign(document.createElement("iframe"), { name: "frame" });
    document.body.append(frame);
    await tried("frame", ended(frame, "src", get).then(() => "sent"));
    for (const type of ["text/plain", "text/plain; application/json"]) {
        const options = { method: "POST", mode: "no-cors", body: json, headers: { "content-type": type } };
        await tried(type, fetch(`${url}/graphql`, options).then((response) => response.type));
    }
    const cors = { method: "POST", body: json, headers: { "content-type": "application/json" } };
    await tried("json", fetch(`${url}/graphql`, cors).then((response) => response.text()));
    await tried("read", fetch(`${url}/server_info`).then((response) => response.text()));
    const form = document.body.appendChild(document.createElement("form"));
    Object.assign(form, { method: "post", action: get, target: "frame", enctype: "text/plain" });
    await tried("form", new Promise((resolve) => {
        frame.addEventListener("load", () => resolve("sent"));
        form.submit();
    }));
    const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-ws");
    await tried("websocket", ended(socket, "binaryType", "blob"));
    return outcome;
}"""
OWN_PAGE = """async (query) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch("/graphql", { method: "POST", headers, body: JSON.stringify({ query }) });
    return response.json();
}"""
OWN_SOCKET = """() => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/graphql`, "graphql-ws");
    for (const event of ["open", "error"]) socket.addEventListener(event, () => resolve(event));
})"""


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with headless_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def ui(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """URL of a UI over an empty root."""
    assert browser.is_connected()  # first, so that nothing is started without a browser
    folder = tmp_path_factory.mktemp("deployment")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDFGC_ROOT", str(folder / "root"))
        patch.setenv("DAGSTER_HOME", "")
        with dev_server(folder) as url:
            page = browser.new_page()
            _wait_until_served(page, url)
            page.close()
            yield url


@pytest.fixture
def foreign_port(tmp_path: Path) -> Generator[int]:
    """Port of a web server of somebody else."""

    class Handler(SimpleHTTPRequestHandler):
        @override
        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title><body></body>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _wait_until_served(page: Page, url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            if page.request.get(f"{url}/server_info").ok:
                return
        except PlaywrightError:
            pass
        assert time.monotonic() < deadline, "the UI was not served in time"
        time.sleep(1)


def runs(page: Page, ui: str) -> list[Any]:
    response = page.request.post(f"{ui}/graphql", data={"query": RUNS})
    return response.json()["data"]["runsOrError"]["results"]


# `attacker.localhost` is another site than `127.0.0.1`; another port of 127.0.0.1 the same site.
@pytest.mark.parametrize("host", ["attacker.localhost", "127.0.0.1"])
def test_foreign_page_cannot_launch_a_run(ui: str, browser: Browser, foreign_port: int, host: str) -> None:
    page = browser.new_page()
    page.goto(f"http://{host}:{foreign_port}/")
    outcome = page.evaluate(FORGE, [ui, LAUNCH])
    assert outcome == {
        "image": "error",
        "frame": "sent",
        "text/plain": "opaque",
        "text/plain; application/json": "opaque",
        "json": "TypeError",
        "read": "TypeError",
        "form": "sent",
        "websocket": "error",
    }
    page.goto(f"{ui}/graphql?query={LAUNCH}")  # as typed: the page of the editor, which executes nothing
    assert runs(page, ui) == []
    page.close()


def test_rebound_name_is_refused(ui: str, browser: Browser) -> None:
    page = browser.new_page()
    response = page.goto(f"http://attacker.localhost:{urlsplit(ui).port}/server_info")
    assert response is not None
    assert response.status == 403
    assert "is not allowed" in json.loads(page.inner_text("body"))["error"]
    page.close()


def test_own_page_launches_a_run(ui: str, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(ui)
    assert page.evaluate(OWN_SOCKET) == "open"
    launched = page.evaluate(OWN_PAGE, LAUNCH)
    assert launched["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", launched
    assert len(runs(page, ui)) == 1
    page.close()
