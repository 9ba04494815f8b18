"""The sensor `failed_runs`."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from traceback import format_exception
from typing import Any

import pytest
from dagster import DagsterInstance, build_run_status_sensor_context, job, op
from typing_extensions import override

from pipelines.operations.runs.failed_runs import failed_runs, post, run_failure


@op
def breaks() -> None:
    try:
        raise KeyError("of a library")
    except KeyError as error:
        raise FileNotFoundError("the disk with the videos is away\nand a second line") from error


@job
def breaking() -> None:
    breaks()


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    messages: list[dict[str, Any]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        @override
        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", messages
    server.shutdown()
    thread.join()
    server.server_close()


def test_failed_run_writes_one_line_and_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: tuple[str, list[dict[str, Any]]]
) -> None:
    url, messages = received
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("PDFGC__OPERATIONS__WEBHOOK", url)
    monkeypatch.setenv("PDFGC__OPERATIONS__WEBSERVER", "https://dagster.example/")
    with DagsterInstance.ephemeral() as instance:
        tags = {"dagster/partition": "b00001"}
        result = breaking.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        context = build_run_status_sensor_context(
            "failed_runs", result.get_run_failure_event(), instance, run
        ).for_run_failure()
        failed_runs(context)
    (line,) = (tmp_path / "failures.log").read_text().splitlines()
    text = "breaking of b00001: breaks: FileNotFoundError: the disk with the videos is away"
    assert line.partition(" ")[2] == f"{text} (https://dagster.example/runs/{result.run_id})"
    assert messages == [
        {
            "text": text,
            "run": result.run_id,
            "job": "breaking",
            "url": f"https://dagster.example/runs/{result.run_id}",
        }
    ]


def test_post_refuses_a_url_that_is_not_http() -> None:
    with pytest.raises(ValueError, match=r"must start with http:// or https://, got 'file://\.\.\.'"):
        post("file:///etc/passwd", {})


@pytest.mark.parametrize(
    "url",
    [
        *(
            "htps://hooks.example/PA55WORD",
            "PA55WORD",
            "https://user:PA55WORD@127.0.0.1/",
            "http://127.0.0.1/a PA55WORD",
        ),
        *("http://127.0.0.1:PA55WORD/", "http://127.0.0.1:1/PA55WORD", "http://PA55WORD\x7f/"),
    ],
)
def test_post_does_not_show_the_url(url: str) -> None:
    with pytest.raises((ValueError, OSError)) as caught:
        post(url, {})
    assert "PA55WORD" not in "".join(format_exception(caught.value))


def test_failure_line_has_no_control_characters_and_no_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @op
    def breaks_by_name() -> None:
        raise FileNotFoundError("a\x1b[2J.mp4 of s3://user:PA55WORD@bucket")

    @job
    def breaking_by_name() -> None:
        breaks_by_name()

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("PDFGC__OPERATIONS__WEBSERVER", "https://user:PA55WORD@dagster.example")
    with DagsterInstance.ephemeral() as instance:
        result = breaking_by_name.execute_in_process(instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        failed_runs(
            build_run_status_sensor_context(
                "failed_runs", result.get_run_failure_event(), instance, run
            ).for_run_failure()
        )
    (line,) = (tmp_path / "failures.log").read_text().splitlines()
    assert r"FileNotFoundError: a\x1b[2J.mp4 of s3://***@bucket (https://***@dagster.example/runs/" in line


def test_run_failure_explains_a_killed_run() -> None:
    reason = run_failure("This run has been marked as failed from outside the execution context.")
    assert reason == "the process of the run died: killed, out of memory, or the machine went down"
    assert run_failure("Timed out\nafter 3 s") == "Timed out"
