"""Small batches through a live daemon and code server: what each batch leaves behind, and kills meanwhile.

    python -m tests.chaos.daemon --batches 100              # memory, open files and disk per batch
    python -m tests.chaos.daemon --batches 8 --kills 20     # SIGKILL of the daemon, the code server, the runs

The sensor `new_videos` requests a run a batch. Batches are of one video without a face, and all steps but the
last are published beforehand, so that a run costs what Dagster costs; with kills, nothing is.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from dagster import AssetKey, DagsterInstance, RunsFilter

from pipelines.operations.instance import ensure_dagster_home
from pipelines.partitions import add_batches
from pipelines.preprocessing.batch_runs import PARTITION_TAG, PREPROCESS, batches_in_flight
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.sources.batch_assignment import BatchSettings
from preprocessing.sources.stored_catalog import SourceSettings, batch_keys, load_batch, scan_sources
from storage.publishing import current, verify
from storage.root import open_root
from tests.chaos.outcome import leftovers_of
from tests.factories.pipelines.postgres_server import free_port
from tests.factories.preprocessing.media import Recipe, make_video

SECONDS: Final = 1.2  # of a video
LAST_STEP: Final = "shards"
POLL_SECONDS: Final = 1.0
SAMPLES: Final = 24  # of memory and files, over all batches
WARM_UP: Final = 0.25  # of the batches, which fill caches
WORKSPACE: Final = """load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: pdfgc}}
"""
SERVICES: Final = ("daemon", "code server")


@dataclass
class Service:
    """A process of the deployment that is started again when it is killed."""

    command: list[str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it, in a process group of its own."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def tree(self) -> list[psutil.Process]:
        """The process and its descendants, without runs."""
        assert self.process is not None
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            return [main, *(one for one in main.children(recursive=True) if not _is_of_run(one))]
        return []

    def kill(self) -> None:
        """SIGKILL of the process and what it started, as systemd does with a control group."""
        assert self.process is not None
        for one in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()


@dataclass(frozen=True)
class Sample:
    """What the deployment holds after so many batches."""

    batches: int
    memory_mebibytes: Mapping[str, float]  # of each service, not shared with others
    open_files: Mapping[str, int]
    threads: Mapping[str, int]
    home_mebibytes: float  # of Dagster
    root_mebibytes: float  # without Dagster's home and the videos


@dataclass
class Outcome:
    """What was done, and what came of it."""

    batches: int = 0
    kills: Counter[str] = field(default_factory=Counter[str])
    samples: list[Sample] = field(default_factory=list[Sample])
    lost: list[str] = field(default_factory=list[str])  # steps of batches that are not published or damaged
    doubled: list[str] = field(default_factory=list[str])  # second builds
    left_over: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])  # batches whose run and its retry were killed

    def lines(self) -> list[str]:
        """For the terminal."""
        by_kind = ", ".join(f"{name} {number}" for name, number in sorted(self.kills.items()))
        return [
            f"{self.batches} batches, {self.kills.total()} kills ({by_kind or 'none'})",
            f"run again by hand {len(self.failed)}",
            f"steps lost {len(self.lost)}, doubled {len(self.doubled)}, left over {len(self.left_over)}",
        ]


class LiveDeployment:
    """A daemon and a code server on SQLite, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "root"
        self.home, port = self.root / "dagster", free_port()
        os.environ.update(
            PDFGC_ROOT=str(self.root),
            DAGSTER_HOME=str(self.home),
            PDFGC_VIDEOS=str(folder / "videos"),
            PDFGC_WORKERS="1",
            PDFGC_CODE_HOST="127.0.0.1",
            PDFGC_CODE_PORT=str(port),
            PDFGC__OPERATIONS__SCAN_EVERY_SECONDS="5",
            PDFGC__OPERATIONS__BATCHES_IN_FLIGHT="2",
        )
        ensure_dagster_home()
        workspace = folder / "workspace.yaml"
        workspace.write_text(WORKSPACE.format(port=port))
        dagster = [sys.executable, "-m", "dagster"]
        server = [*dagster, "code-server", "start", "--host", "127.0.0.1", "--port", str(port)]
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
        self.services = {
            "code server": Service([*server, "-m", "pipelines.definitions"], folder / "code.log"),
            "daemon": Service(daemon, folder / "daemon.log"),
        }

    def start(self, name: str) -> None:
        """Start a service, as its unit does: dead runs are cleared when the code server answers."""
        self.services[name].start()
        if name == "code server":
            subprocess.run([sys.executable, "-m", "pipelines.operations.runs.dead_runs"], check=True)

    def run_processes(self) -> list[psutil.Process]:
        """The processes of runs."""
        return [one for one in _all_processes() if _is_of_run(one) and _has_home(one, self.home)]

    def sample(self, batches: int) -> Sample:
        """Look at the services and the disk."""
        trees = {name: service.tree() for name, service in self.services.items()}
        homes = _size_mebibytes(self.home)
        return Sample(
            batches,
            {name: sum(one.memory_full_info().uss for one in tree) / 2**20 for name, tree in trees.items()},
            {name: sum(one.num_fds() for one in tree) for name, tree in trees.items()},
            {name: sum(one.num_threads() for one in tree) for name, tree in trees.items()},
            homes,
            _size_mebibytes(self.root) - homes,
        )


@contextmanager
def running(deployment: LiveDeployment) -> Generator[None]:
    """Both services, ended afterwards with all runs."""
    try:
        for name in deployment.services:
            deployment.start(name)
        yield
    finally:
        for service in deployment.services.values():
            if service.process is not None and service.process.poll() is None:
                service.kill()
        for one in deployment.run_processes():
            one.kill()


def prepare(deployment: LiveDeployment, batches: int, is_prebuilt: bool) -> list[str]:
    """Scan one video a batch; publish all steps but the last of each, if asked to."""
    videos = deployment.folder / "videos"
    videos.mkdir()
    make_video(videos / "first.mp4", Recipe(seconds=SECONDS))
    content = (videos / "first.mp4").read_bytes()
    for number in range(batches):
        (videos / f"person{number}").mkdir()
        # Another empty box at the end makes it another file.
        box = b"\0\0\0\x0cfree" + number.to_bytes(4, "big")
        (videos / f"person{number}" / "video.mp4").write_bytes(content + box)
    (videos / "first.mp4").unlink()
    root = open_root(str(deployment.root))
    one_each = SourceSettings(batches=BatchSettings(videos_per_batch=1, minimum_identities=1))
    scan_sources(root, [videos], one_each)
    keys = batch_keys(root)
    for key in keys if is_prebuilt else ():
        for step in list(STEPS)[: list(STEPS).index(LAST_STEP)]:
            run_step(root, step, load_batch(root, key), PreprocessingSettings(), workers=0)
    return keys


def drive(
    deployment: LiveDeployment, keys: list[str], kills: int, rng: random.Random, seconds: float
) -> Outcome:
    """Wait until all batches are done or the time is over, with samples and kills meanwhile."""
    outcome, give_up_at = Outcome(), time.monotonic() + seconds
    with DagsterInstance.get() as instance:
        add_batches(instance, keys)
        with running(deployment):
            next_kill = time.monotonic() + rng.uniform(5.0, 20.0)
            while not _is_over(instance, keys) and time.monotonic() < give_up_at:
                ended = len(_ended(instance))
                seen = outcome.samples[-1].batches if outcome.samples else -1
                if ended >= seen + max(1, len(keys) // SAMPLES):
                    with suppress(psutil.NoSuchProcess):  # a service starts a child and ends it at times
                        outcome.samples.append(deployment.sample(ended))
                if outcome.kills.total() < kills and time.monotonic() > next_kill:
                    outcome.kills += _kill_one(deployment, rng)
                    next_kill = time.monotonic() + rng.uniform(5.0, 25.0)
                time.sleep(POLL_SECONDS)
            outcome.samples.append(deployment.sample(len(_ended(instance))))
            if not _is_over(instance, keys):
                keys = [key for key in keys if key in _ended(instance)]
        outcome.batches = len(keys)
        _run_failed_again(instance, keys, outcome)
        _compare(deployment, instance, keys, outcome)
    return outcome


def _kill_one(deployment: LiveDeployment, rng: random.Random) -> Counter[str]:
    """SIGKILL of a service or of a run's process; the service is started again."""
    target = rng.choice((*SERVICES, "run", "run"))
    if target == "run":
        runs = deployment.run_processes()
        if not runs:
            return Counter()
        with suppress(psutil.NoSuchProcess):
            rng.choice(sorted(runs, key=lambda one: one.pid)).kill()
        return Counter({target: 1})
    deployment.services[target].kill()
    deployment.start(target)
    return Counter({target: 1})


def _compare(
    deployment: LiveDeployment, instance: DagsterInstance, keys: list[str], outcome: Outcome
) -> None:
    """Every step of every batch is published once, whole, and Dagster knows of it."""
    root = open_root(str(deployment.root))
    for step in STEPS:
        known = instance.get_materialized_partitions(AssetKey(step))
        for key in keys:
            published = current(root, step, key)
            if published is None or verify(published) or key not in known:
                outcome.lost.append(f"{step}/{key}")
            builds = sorted((deployment.root / "assets" / step / key).glob("*/manifest.json"))
            outcome.doubled += [str(one) for one in builds[1:]]
    outcome.left_over += leftovers_of(deployment.root)


def _run_failed_again(instance: DagsterInstance, keys: list[str], outcome: Outcome) -> None:
    """A batch whose run and its retry were both killed has failed: its run is launched again by hand."""
    from pipelines.definitions import definitions

    for key in sorted(set(keys) - _ended(instance)):
        outcome.failed.append(key)
        job = definitions.resolve_job_def(PREPROCESS)
        assert job.execute_in_process(instance=instance, partition_key=key).success


def _is_over(instance: DagsterInstance, keys: list[str]) -> bool:
    """Whether every batch had its run, and none is queued, running or about to be tried again."""
    started = {run.tags.get(PARTITION_TAG) for run in instance.get_runs(RunsFilter(job_name=PREPROCESS))}
    return started >= set(keys) and not batches_in_flight(instance)


def _ended(instance: DagsterInstance) -> set[str]:
    return instance.get_materialized_partitions(AssetKey(LAST_STEP))


def _all_processes() -> list[psutil.Process]:
    return list(psutil.process_iter())


def _is_of_run(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        command = process.cmdline()
        return any("multiprocessing.spawn" in word for word in command)
    return False


def _has_home(process: psutil.Process, home: Path) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return process.environ().get("DAGSTER_HOME") == str(home)
    return False


def _size_mebibytes(folder: Path) -> float:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_blocks * 512
    return total / 2**20


def slope(samples: Sequence[Sample], value: Callable[[Sample], float]) -> float:
    """Least-squares slope per batch, without the warm-up."""
    last = samples[-1].batches
    kept = [one for one in samples if one.batches >= WARM_UP * last]
    return float(np.polyfit([one.batches for one in kept], [value(one) for one in kept], 1)[0])


def slope_rows(samples: Sequence[Sample]) -> list[str]:
    """Each quantity: first and last sample after the warm-up, per batch, and what 2,000 batches would add."""
    values: dict[str, Callable[[Sample], float]] = {
        "Dagster's home, MiB": lambda one: one.home_mebibytes,
        "root, MiB": lambda one: one.root_mebibytes,
    }
    for name in sorted(samples[0].open_files):
        values |= {
            f"{name}: memory, MiB": lambda one, name=name: one.memory_mebibytes[name],
            f"{name}: open files": lambda one, name=name: float(one.open_files[name]),
            f"{name}: threads": lambda one, name=name: float(one.threads[name]),
        }
    rows = [f"{'':28}{'first':>10}{'last':>10}{'per batch':>12}{'of 2,000':>12}"]
    for title, value in values.items():
        each = slope(samples, value)
        first, last = value(samples[0]), value(samples[-1])
        rows.append(f"{title:28}{first:10.1f}{last:10.1f}{each:12.4f}{2000 * each:12.1f}")
    return rows


def main() -> int:
    """Run batches; 1 if one was lost, doubled or left something over."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.daemon", description=__doc__)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pdfgc-daemon-"))
    deployment = LiveDeployment(folder)
    keys = prepare(deployment, options.batches, is_prebuilt=options.kills == 0)
    outcome = drive(deployment, keys, options.kills, random.Random(options.seed), options.seconds)
    lines = outcome.lines() + (slope_rows(outcome.samples) if options.kills == 0 else [])
    sys.stdout.write("\n".join([*lines, *outcome.lost, *outcome.doubled, *outcome.left_over]) + "\n")
    if outcome.lost or outcome.doubled or outcome.left_over:
        sys.stdout.write(f"kept: {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
