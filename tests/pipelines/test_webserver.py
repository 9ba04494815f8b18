"""Dagster's web server behind the guard, and what `pdfgc dev` starts."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
from dagster._cli import dev as dagster_dev
from dagster._core.remote_representation.code_location import CodeLocation
from dagster_webserver import cli
from starlette.types import ASGIApp

from pipelines import webserver
from pipelines.cli.operations.dev import option, serve_guarded
from pipelines.operations.settings import OperationsSettings
from pipelines.webserver import allowed_names
from tests.factories.evaluation.asgi import LOCAL, open_websocket, send_request

MUTATION = "mutation { setNuxSeen }"  # launches nothing, and is executed as a launch would be
POST = LOCAL | {"content-type": "application/json"}
IMAGE = {"accept": "image/avif,image/webp,*/*", "sec-fetch-dest": "image", "sec-fetch-mode": "no-cors"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> ASGIApp:
    """The application that `python -m pipelines.webserver` serves, without a code location."""
    served: list[ASGIApp] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PDFGC__OPERATIONS__ALLOWED_HOSTS", "pdfgc.example.org, gpu1")
        build = cli.create_app_from_workspace_process_context  # pyright: ignore[reportPrivateImportUsage]
        patch.setattr(cli, "create_app_from_workspace_process_context", build)  # restored afterwards
        patch.setattr(CodeLocation, "get_display_metadata", CodeLocation.get_display_metadata)  # likewise
        patch.setattr(uvicorn, "run", lambda app, **_: served.append(app))
        patch.setattr("sys.argv", ["pipelines.webserver", "--empty-workspace", "--port", "3000"])
        with pytest.raises(SystemExit) as end:
            webserver.main()
    assert end.value.code == 0
    (app,) = served
    return app


def body(query: str) -> bytes:
    return json.dumps({"query": query}).encode()


def test_graphql_is_executed_for_own_pages_and_programs(app: ASGIApp) -> None:
    for headers in (POST, POST | {"origin": "http://localhost:3000", "sec-fetch-site": "same-origin"}):
        response = send_request(app, "POST", "/graphql", headers, body("{ version }"))
        assert response.status == 200
        assert json.loads(response.body)["data"]["version"]
    assert json.loads(send_request(app, "POST", "/graphql", POST, body(MUTATION)).body)["data"]["setNuxSeen"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize("query", [MUTATION, "{ version }"])
def test_graphql_is_not_executed_by_get(app: ASGIApp, method: str, query: str) -> None:
    path = f"/graphql?query={query.replace(' ', '%20')}"
    for accept in (LOCAL, LOCAL | IMAGE):
        response = send_request(app, method, path, accept)
        assert response.status == 405
        assert b"data" not in response.body


def test_page_of_the_graphql_editor_is_served(app: ASGIApp) -> None:
    response = send_request(app, "GET", f"/graphql?query={MUTATION}", LOCAL | {"accept": "text/html"})
    assert response.status == 200
    assert b"GraphiQL" in response.body


def test_forged_requests_are_refused(app: ASGIApp) -> None:
    query = f"/graphql?query={MUTATION.replace(' ', '%20')}"
    for site in ("cross-site", "same-site"):
        assert send_request(app, "GET", query, LOCAL | IMAGE | {"sec-fetch-site": site}).status == 403
    foreign = {"origin": "https://attacker.example"}
    assert send_request(app, "POST", "/graphql", POST | foreign, body(MUTATION)).status == 403
    plain = LOCAL | {"content-type": "text/plain; application/json"}
    assert send_request(app, "POST", "/graphql", plain, body(MUTATION)).status == 415
    assert send_request(app, "POST", query, LOCAL).status == 415
    assert send_request(app, "POST", "/report_asset_materialization/clips", LOCAL).status == 415


def test_hosts_of_the_settings_are_served(app: ASGIApp) -> None:
    for host in ("pdfgc.example.org", "gpu1:3000", "localhost:3000"):
        assert send_request(app, "GET", "/server_info", {"host": host}).status == 200
    refused = send_request(app, "GET", "/server_info", {"host": "attacker.example:3000"})
    assert refused.status == 403
    assert b"add its name to PDFGC__OPERATIONS__ALLOWED_HOSTS" in refused.body
    settings = OperationsSettings(webserver="https://ui.example.org:8443/pdfgc")
    assert allowed_names(settings) == ["ui.example.org"]


def test_subscriptions_of_other_origins_are_refused(app: ASGIApp) -> None:
    assert open_websocket(app, "/graphql", LOCAL | {"origin": "http://localhost:3000"}).status == 101
    assert open_websocket(app, "/graphql", LOCAL | {"origin": "https://attacker.example"}).status == 0
    assert open_websocket(app, "/graphql", {"host": "attacker.example"}).status == 0


def test_page_of_the_code_location_says_where_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodeLocation, "get_display_metadata", lambda _: {"module_name": "m"})
    webserver.show_start()
    ours, other = (
        CodeLocation.get_display_metadata(cast("CodeLocation", SimpleNamespace(name=name)))
        for name in ("pdfgc", "theirs")
    )
    assert "add_videos" in ours["start_here"]
    assert ours["module_name"] == "m"
    assert other == {"module_name": "m"}


def test_dev_starts_the_guarded_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):  # noqa: N818
        pass

    started: list[Sequence[str]] = []

    def start(parts: Sequence[str], **_: Any) -> None:
        started.append(parts)
        if len(started) == 2:
            raise Started

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setattr(dagster_dev, "open_ipc_subprocess", start)
    for name in ("DAGSTER_IS_DEV_CLI", "DAGSTER_verbose"):  # set by the command
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("sys.argv", ["dg", "dev", "-w", str(tmp_path / "workspace.yaml"), "--port", "3001"])
    with pytest.raises(Started):
        serve_guarded()
    webserver_command, daemon_command = started
    assert webserver_command[1:5] == ["-m", "pipelines.webserver", "--port", "3001"]
    assert daemon_command[1:4] == ["-m", "dagster._daemon", "run"]


def test_option_of_dev_is_read_in_both_forms() -> None:
    assert option(("--host", "::1", "--port", "3001"), "--port", "-p") == "3001"
    assert option(("--port=3002",), "--port") == "3002"
    assert option(("--port",), "--port") is None
