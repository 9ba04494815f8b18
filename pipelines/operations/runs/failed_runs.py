"""The sensor `failed_runs`: one line for every failed run, in a log and to a webhook."""

import http.client
import json
import os
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dagster import DagsterEvent, DefaultSensorStatus, RunFailureSensorContext, run_failure_sensor

from pipelines.deployed_settings import deployed
from pipelines.operations.instance import HOME_VARIABLE
from pipelines.operations.runs.step_errors import step_error
from pipelines.operations.settings import OperationsSettings
from storage.printable import display_text, without_secrets

PARTITION_TAG: Final = "dagster/partition"
WILL_RETRY_TAG: Final = "dagster/will_retry"
KILLED_MESSAGE: Final = "This run has been marked as failed from outside"
FAILURES_NAME: Final = "failures.log"
WEBHOOK_TIMEOUT_SECONDS: Final = 10


@run_failure_sensor(
    default_status=DefaultSensorStatus.RUNNING,
    monitor_all_code_locations=False,
    description="Writes a line for every failed run to failures.log in Dagster's home and to the webhook.",
)
def failed_runs(context: RunFailureSensorContext) -> None:
    """Report a failed run: the step, its error and the URL of its page."""
    settings = deployed(OperationsSettings)
    run = context.dagster_run
    failures = context.get_step_failure_events()
    line = failure_line(run.job_name, run.tags.get(PARTITION_TAG, ""), failures)
    if not failures:
        line += run_failure(context.failure_event.message or "")
    if run.tags.get(WILL_RETRY_TAG) == "true":
        line += "; it will be retried"
    line, url = display_text(line), f"{without_secrets(settings.webserver).rstrip('/')}/runs/{run.run_id}"
    context.log.error("%s (%s)", line, url)
    write_line(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line} ({url})")
    if webhook := settings.webhook.get_secret_value():
        post(webhook, {"text": line, "run": run.run_id, "job": run.job_name, "url": url})


def failure_line(job: str, batch: str, failures: Sequence[DagsterEvent]) -> str:
    """The error of the first failed step: ``preprocess of b00001: clips: ValueError: …``."""
    line = f"{job} of {batch}: " if batch else f"{job}: "
    for event in failures:
        if (error := step_error(event)) is not None:
            return f"{line}{event.step_key}: {first_line(error)}"
    return line


def run_failure(message: str) -> str:
    """Why a run without a failed step failed. Dagster's message for a dead process is vague."""
    killed = "the process of the run died: killed, out of memory, or the machine went down"
    return killed if message.startswith(KILLED_MESSAGE) else first_line(message) or "no reason given"


def first_line(message: str) -> str:
    """The first line of an error's message."""
    return message.strip().partition("\n")[0]


def write_line(line: str) -> None:
    """Append a line to `failures.log`. Dagster's home is local, also when the root is in a bucket."""
    with (Path(os.environ[HOME_VARIABLE]) / FAILURES_NAME).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def post(url: str, message: dict[str, str]) -> None:
    """Post a message as JSON. Errors do not show the URL, which is a secret.

    Raises:
        ValueError: the URL is not http or https, or is malformed.
        OSError: no response, or an error status; the tick shows it.
    """
    if not url.startswith(("http://", "https://")):
        scheme, separator, _ = url.partition("://")
        got = f", got '{scheme}{separator}...'" if separator else ""
        raise ValueError(f"PDFGC__OPERATIONS__WEBHOOK must start with http:// or https://{got}")
    body = json.dumps(message).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  (checked)
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_SECONDS):  # noqa: S310
            pass
    except (http.client.InvalidURL, UnicodeError):
        raise ValueError("PDFGC__OPERATIONS__WEBHOOK is not a valid URL") from None
