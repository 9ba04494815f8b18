"""The sensor `failed_runs`: one clear line for every run that failed, and a message where one is wanted."""

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
from pipelines.operations.settings import OperationsSettings
from pipelines.operations.step_errors import step_error

PARTITION_TAG: Final = "dagster/partition"
WILL_RETRY_TAG: Final = "dagster/will_retry"
MARKED_FROM_OUTSIDE: Final = "This run has been marked as failed from outside"
FAILURES_NAME: Final = "failures.log"
MESSAGE_SECONDS: Final = 10  # a webhook that does not answer must not hold up the sensor


@run_failure_sensor(
    default_status=DefaultSensorStatus.RUNNING,
    monitor_all_code_locations=False,
    description="A line of every failed run in failures.log of Dagster's home, and to the webhook.",
)
def failed_runs(context: RunFailureSensorContext) -> None:
    """Tell of a failed run: the step, its error, and where to look."""
    settings = deployed(OperationsSettings)
    run = context.dagster_run
    failures = context.get_step_failure_events()
    line = failure_line(run.job_name, run.tags.get(PARTITION_TAG, ""), failures)
    if not failures:
        line += run_failure(context.failure_event.message or "")
    if run.tags.get(WILL_RETRY_TAG) == "true":
        line += "; it is started again"
    url = f"{settings.webserver.rstrip('/')}/runs/{run.run_id}"
    context.log.error("%s (%s)", line, url)
    write_line(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line} ({url})")
    if settings.webhook:
        post(settings.webhook, {"text": line, "run": run.run_id, "job": run.job_name, "url": url})


def failure_line(job: str, batch: str, failures: Sequence[DagsterEvent]) -> str:
    """Such as ``preprocess of b00001: clips: ValueError: …``: what the first failed step raised."""
    line = f"{job} of {batch}: " if batch else f"{job}: "
    for event in failures:
        if (error := step_error(event)) is not None:
            return f"{line}{event.step_key}: {first_line(error)}"
    return line


def run_failure(message: str) -> str:
    """Why a run failed of which no step did; Dagster's own words for a dead process tell little."""
    gone = "the run's process is gone: killed, out of memory, or its machine went down"
    return gone if message.startswith(MARKED_FROM_OUTSIDE) else first_line(message) or "no reason given"


def first_line(message: str) -> str:
    """An error's message without what follows its first line."""
    return message.strip().partition("\n")[0]


def write_line(line: str) -> None:
    """Add a line to `failures.log`; Dagster's home is local, whatever the root is."""
    with (Path(os.environ[HOME_VARIABLE]) / FAILURES_NAME).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def post(url: str, message: dict[str, str]) -> None:
    """Post a message as JSON.

    Raises:
        ValueError: the address is not one of the web.
        OSError: nobody answers, or with an error; the tick shows it, the line is written all the same.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(
            f"PDFGC__OPERATIONS__WEBHOOK is {url!r}, need an address that starts with http:// or https://"
        )
    body = json.dumps(message).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  (checked)
    with urllib.request.urlopen(request, timeout=MESSAGE_SECONDS):  # noqa: S310
        pass
