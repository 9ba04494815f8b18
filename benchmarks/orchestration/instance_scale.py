"""Response times of Dagster's pages with thousands of batches in the event log.

Fills instances with `--few` and with `--batches` batches, every step of each batch materialised and
checked (`benchmarks.orchestration.instance_filling`), and serves each by a `dagster-webserver` with the
project's definitions. The pages' queries are timed over HTTP: one call to warm up, then the median of
`--runs`. InstanceTimings with and without the pictures that our assets log in their metadata.

    python -m benchmarks.orchestration.instance_scale ROOT             # a root filled by `pdfgc demo`; SQLite
    python -m benchmarks.orchestration.instance_scale ROOT --postgres  # starts a PostgreSQL server
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
from dagster import DagsterInstance

from benchmarks.measuring import show, write_json
from benchmarks.orchestration.instance_filling import events, fill
from benchmarks.orchestration.ui_queries import page_queries
from pipelines.definitions import definitions
from pipelines.operations.instance import INSTANCE_FILE, INSTANCE_SETTINGS
from pipelines.partitions import batches as batch_partitions
from preprocessing.orchestration.steps import STEPS
from tests.factories.pipelines.postgres_server import free_port, postgres_server
from training.launch.signals import die_with_parent

POSTGRES_SETTINGS: Final = Path(__file__).parents[2] / "deploy" / "dagster.postgres.yaml"
MIB: Final = 2**20
START_TIMEOUT_SECONDS: Final = 180.0
RESPONSE_TIMEOUT_SECONDS: Final = 600.0


@dataclass(frozen=True)
class PageTiming:
    """Time and size of a response of the webserver."""

    first_seconds: float  # of the first call, which fills the caches
    seconds: float  # median of the others
    mib: float


@dataclass(frozen=True)
class InstanceTimings:
    """Measurements of one instance."""

    answers: Mapping[str, PageTiming]
    filling_seconds: float
    database_mib: float


@click.command()
@click.argument("root", type=click.Path(path_type=Path, exists=True))
@click.option("--batches", default=3000, show_default=True, help="Batches of the large instance.")
@click.option("--few", default=10, show_default=True, help="Batches of the small instance, for comparison.")
@click.option("--runs", default=5, show_default=True, help="Runs of each measurement.")
@click.option("--postgres", is_flag=True, help="Use a temporary PostgreSQL server instead of SQLite.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(root: Path, batches: int, few: int, runs: int, postgres: bool, json_path: Path | None) -> None:
    """Measure loading and page response times, with few batches and with many."""
    loading = loading_seconds(runs)
    show("A fresh process", ("", "wall s"), list(loading.items()))
    results: dict[str, Any] = {"storage": "postgres" if postgres else "sqlite", "loading_seconds": loading}
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server()) if postgres else None
        for with_pictures in (True, False):
            small = measure(root, few, runs, database, with_pictures=with_pictures)
            large = measure(root, batches, runs, database, with_pictures=with_pictures)
            name = "with pictures" if with_pictures else "without pictures"
            print_pages(f"{results['storage']}, {name}", (few, small), (batches, large))
            results[name] = {few: to_json(small), batches: to_json(large)}
    write_json(json_path, results)


def loading_seconds(runs: int) -> dict[str, float]:
    """Median wall time of fresh processes that load the definitions, and of `dagster asset list`."""
    commands = {
        "load the definitions": ["-c", "import pipelines.definitions"],
        "dagster asset list": ["-m", "dagster", "asset", "list", "-m", "pipelines.definitions"],
    }
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "DAGSTER_HOME": home}
        (Path(home) / INSTANCE_FILE).write_text(INSTANCE_SETTINGS)
        return {name: _median_seconds(words, environment, runs) for name, words in commands.items()}


def _median_seconds(words: list[str], environment: Mapping[str, str], runs: int) -> float:
    taken: list[float] = []
    for _ in range(runs):
        started = time.monotonic()
        subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
        taken.append(time.monotonic() - started)
    return statistics.median(taken)


def measure(
    root: Path, batches: int, runs: int, database: Mapping[str, str] | None, *, with_pictures: bool
) -> InstanceTimings:
    """Fill an instance, serve it, and time the pages."""
    with (
        tempfile.TemporaryDirectory(prefix="pdfgc-scale-") as folder,
        instance_settings(Path(folder), database),
    ):
        started = time.monotonic()
        with DagsterInstance.get() as instance:
            fill(instance, str(root), batches, with_pictures=with_pictures)
            filling_seconds = time.monotonic() - started
            assert batch_partitions.name is not None
            keys = sorted(instance.get_dynamic_partitions(batch_partitions.name))
            size = database_bytes(Path(folder), instance) / MIB
        with webserver() as address:
            assets = sorted(
                key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()
            )
            answers = {
                query.page: ask(address, query.query, query.variables, runs)
                for query in page_queries(assets, tuple(STEPS), keys)
            }
    return InstanceTimings(answers, filling_seconds, size)


@contextmanager
def instance_settings(home: Path, database: Mapping[str, str] | None) -> Generator[None]:
    """A new home, and with PostgreSQL a new database, for this process and those that it starts."""
    settings = {"DAGSTER_HOME": str(home), "DAGSTER_WEBSERVER_POOL_RECYCLE": "3600"}
    if database is None:
        (home / INSTANCE_FILE).write_text(INSTANCE_SETTINGS)
    else:
        shutil.copy(POSTGRES_SETTINGS, home / INSTANCE_FILE)
        settings |= {**database, "PDFGC_POSTGRES_DATABASE": new_database(database)}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def new_database(database: Mapping[str, str]) -> str:
    """Create an empty database; returns its name."""
    import psycopg2

    name = f"scale_{time.monotonic_ns()}"
    connection = psycopg2.connect(
        host=database["PDFGC_POSTGRES_HOST"],
        port=database["PDFGC_POSTGRES_PORT"],
        user=database["PDFGC_POSTGRES_USER"],
        password=database["PDFGC_POSTGRES_PASSWORD"],
        dbname=database["PDFGC_POSTGRES_DATABASE"],
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
    finally:
        connection.close()
    return name


def database_bytes(home: Path, instance: DagsterInstance) -> int:
    """Size of runs and events on disk."""
    import sqlalchemy as sql

    with events(instance) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sql.text("analyze"))
            size = sql.select(sql.func.pg_database_size(sql.func.current_database()))
            return int(connection.execute(size).scalar_one())
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


@contextmanager
def webserver() -> Generator[str]:
    """A `dagster-webserver` with the project's definitions; yields its GraphQL address."""
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-m", "pipelines.definitions"]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509  (it calls the kernel once, no lock is taken)
        ) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_until_ready(process, f"{address}/server_info")
            yield f"{address}/graphql"
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_SECONDS)


def _wait_until_ready(process: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310  (our own server)
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("dagster-webserver did not start") from None
            time.sleep(0.2)


def ask(address: str, query: str, variables: Mapping[str, Any], runs: int) -> PageTiming:
    """Median time of a query after one call to warm up, and the size of its response.

    Raises:
        ValueError: the webserver responded with an error.
    """
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310
    taken: list[float] = []
    size = 0
    for _ in range(runs + 1):
        started = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=RESPONSE_TIMEOUT_SECONDS) as response:  # noqa: S310
                answer = response.read()
        except urllib.error.HTTPError as error:
            raise ValueError(f"the webserver refused a query: {error.read().decode()[:2000]}") from error
        taken.append(time.monotonic() - started)
        size = len(answer)
        if errors := json.loads(answer).get("errors"):
            raise ValueError(f"the webserver responded with an error: {errors}")
    return PageTiming(taken[0], statistics.median(taken[1:]), size / MIB)


def print_pages(title: str, small: tuple[int, InstanceTimings], large: tuple[int, InstanceTimings]) -> None:
    """One table: every page with few batches and with many."""
    (few, before), (many, after) = small, large
    rows: list[tuple[str | float, ...]] = []
    for page, answer in after.answers.items():
        earlier = before.answers[page].seconds
        rows.append(
            (page, earlier, answer.seconds, answer.seconds / earlier, answer.first_seconds, answer.mib)
        )
    columns = (f"{few} batches, s", f"{many} batches, s", "ratio", f"first at {many}, s", f"MiB at {many}")
    show(title, ("page", *columns), rows)
    show(
        f"{title}: the instance",
        ("batches", "filling, s", "database, MiB"),
        [
            (few, before.filling_seconds, before.database_mib),
            (many, after.filling_seconds, after.database_mib),
        ],
    )


def to_json(measured: InstanceTimings) -> dict[str, Any]:
    """For the JSON file."""
    return {
        "filling_seconds": measured.filling_seconds,
        "database_mib": measured.database_mib,
        "pages": {page: asdict(answer) for page, answer in measured.answers.items()},
    }


if __name__ == "__main__":
    main()
