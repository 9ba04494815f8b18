"""A deployment in a folder: the processes of `deploy/`'s units with an environment of their own."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from click.testing import CliRunner
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from upath import UPath

from demo_corpus.corpus import CorpusSettings, make_corpus
from preprocessing.orchestration.steps import STEPS
from storage.publishing import current
from tests.conftest import REPOSITORY
from tests.factories.pipelines.postgres_server import free_port, postgres_server
from training.launch.signals import die_with_parent

DEPLOY: Final = REPOSITORY / "deploy"
WORKSPACE: Final = DEPLOY / "workspace.yaml"
MARK_VARIABLE: Final = "PDFGC_TEST_DEPLOYMENT"
TINY: Final = CorpusSettings(people=1, videos=1, seconds_per_video=2.4, side_px=256, workers=1)
ENDED: Final = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
TIMEOUT_SECONDS: Final = 300.0  # generous, for a busy machine
ONE_VIDEO_EACH: Final = {"batches": {"videos_per_batch": 1, "minimum_identities": 1}}
QUIET: Final[dict[str, Any]] = {"loggers": {"plain": {"config": {"log_level": "ERROR"}}}}
ONE_WORKER: Final[dict[str, Any]] = {"resources": {"workspace": {"config": {"workers": 1}}}, **QUIET}


@dataclass(frozen=True)
class Deployment:
    """The folder and the environment variables of a deployment."""

    folder: Path
    variables: Mapping[str, str]

    @contextmanager
    def start(self, unit: str, *options: str) -> "Generator[subprocess.Popen[bytes]]":
        """Start the command of a unit with more options; the end of the block or of this process ends it."""
        environment = {**os.environ, **self.variables}
        with (
            (self.folder / f"{unit}.log").open("ab") as log,
            subprocess.Popen(
                [*unit_command(unit, environment), *options],
                env=environment,
                cwd=REPOSITORY,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509  (it calls the kernel once, no lock is taken)
            ) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()
                process.wait(TIMEOUT_SECONDS)

    def processes(self) -> list[psutil.Process]:
        """All processes with these variables, also orphans."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK_VARIABLE) == self.variables[MARK_VARIABLE]
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # also a zombie
            return False

    def sockets(self) -> list[Path]:
        """Socket files that were left behind."""
        return [path for path in Path(self.variables["TMPDIR"]).rglob("*") if path.is_socket()]

    def logs(self) -> str:
        """The ends of the logs, for failures."""
        return "\n".join(path.read_text()[-4000:] for path in sorted(self.folder.glob("*.log")))


def unit_command(unit: str, environment: Mapping[str, str]) -> list[str]:
    """The command of a unit of `deploy/`, with the programs and variables of this environment."""
    line = re.search(r"^ExecStart=(.+)$", (DEPLOY / f"{unit}.service").read_text(), re.MULTILINE)
    assert line is not None
    program, *words = line[1].split()
    assert program.startswith("/opt/pdfgc/.venv/bin/")
    filled = [re.sub(r"\$\{(\w+)\}", lambda match: environment[match[1]], word) for word in words]
    return [str(Path(sys.executable).with_name(Path(program).name)), *filled]


def scan(instance: DagsterInstance, folder: Path) -> list[str]:
    """Scan for videos, one per batch; returns the batches."""
    from pipelines.definitions import definitions

    sources = {"config": {"folders": [str(folder)], **ONE_VIDEO_EACH}}
    job = definitions.resolve_job_def("scan_sources")
    assert job.execute_in_process(
        instance=instance, run_config={"resources": {"sources": sources}, **QUIET}
    ).success
    return sorted(instance.get_dynamic_partitions("batches"))


def contents(root: str | Path, batch: str) -> dict[str, str]:
    """The content digests of all steps of a batch."""
    builds = {name: current(UPath(root), name, batch) for name in STEPS}
    return {name: build.manifest.content_digest for name, build in builds.items() if build is not None}


def until(condition: Callable[[], bool], name: str, deployment: Deployment) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {name}\n{deployment.logs()}"
        time.sleep(0.1)


def code_server_answers(deployment: Deployment) -> bool:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    port = int(deployment.variables["PDFGC_CODE_PORT"])
    try:
        DagsterGrpcClient(host="127.0.0.1", port=port).ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True


@contextmanager
def postgres_deployment(
    settings: str, monkeypatch: pytest.MonkeyPatch, root: str | None = None
) -> Generator[Deployment]:
    """A new database and a new root; all processes are ended and files removed afterwards.

    Args:
        settings: file of `deploy/` that becomes `dagster.yaml`.
        monkeypatch: sets the deployment's variables in this process as well.
        root: a bucket; default: a folder.

    Raises:
        NoPostgresError: PostgreSQL cannot be started here.
    """
    with (
        postgres_server() as database,
        tempfile.TemporaryDirectory(
            prefix="pdfgc-"
        ) as name_of_folder,  # short: the length of socket names is limited
    ):
        folder = Path(name_of_folder)
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        shutil.copy(DEPLOY / settings, folder / "home" / "dagster.yaml")
        variables = {
            **database,
            MARK_VARIABLE: secrets.token_hex(8),
            "DAGSTER_HOME": str(folder / "home"),
            "PDFGC_ROOT": root or str(folder / "root"),
            "PDFGC_CODE_HOST": "127.0.0.1",
            "PDFGC_CODE_PORT": str(free_port()),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(folder / "tmp"),
        }
        for name in variables.keys() - {MARK_VARIABLE, "TMPDIR"}:
            monkeypatch.setenv(name, variables[name])
        deployment = Deployment(folder, variables)
        try:
            yield deployment
        finally:
            for process in deployment.processes():
                process.kill()


def one_video_each(folder: Path, people: int) -> Path:
    """A folder with one video a person: the same video with another empty box at its end."""
    (rendered,) = make_corpus(folder.with_name(folder.name + "-rendered"), TINY)
    for person in range(people):
        (folder / f"person{person}").mkdir(parents=True)
        suffix = b"\0\0\0\x08free" * person
        (folder / f"person{person}" / "video.mp4").write_bytes(rendered.video.read_bytes() + suffix)
    return folder


def dagster(group: str, *words: str) -> None:
    """Run a `dagster` command in this process, where Dagster is loaded already."""
    from dagster._cli import create_dagster_cli

    result = CliRunner().invoke(create_dagster_cli(), [group, *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def launch_batch(batch: str) -> None:
    """Queue a run of a batch, as the UI does."""
    tags, config = json.dumps({"dagster/partition": batch}), json.dumps(ONE_WORKER)
    dagster(
        "job", "launch", "-w", str(WORKSPACE), "-j", "preprocess", "--tags", tags, "--config-json", config
    )


def batch_runs(instance: DagsterInstance) -> Sequence[DagsterRunStatus]:
    return [run.status for run in instance.get_runs(RunsFilter(job_name="preprocess"))]


def contents_on_sqlite(videos: Path, folder: Path, batch: str) -> dict[str, str]:
    """Build the same batch under another root, with the SQLite settings."""
    from pipelines.definitions import definitions
    from pipelines.operations.instance import ensure_dagster_home

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDFGC_ROOT", str(folder / "root"))
        patch.setenv("DAGSTER_HOME", "")
        ensure_dagster_home()
        with DagsterInstance.get() as instance:
            assert type(instance.event_log_storage).__name__ == "SqliteEventLogStorage"
            assert batch in scan(instance, videos)
            job = definitions.resolve_job_def("preprocess")
            assert job.execute_in_process(
                instance=instance, partition_key=batch, run_config=ONE_WORKER
            ).success
    return contents(folder / "root", batch)
