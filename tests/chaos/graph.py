"""The whole graph in small: rendered clips, toy networks, every step from the scan to the report.

Each node is the production function behind an asset. Networks and steps of training are those of
`tests.factories.training.toy_run`; a checkpoint is written every third of its eight steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from upath import UPath

from evaluation.config import EvaluationConfig
from evaluation.generation.generate import run_generated_videos
from evaluation.report.build import ReportSettings, run_report
from evaluation.suites.control import run_control_evaluation
from evaluation.suites.lip_sync import run_lip_sync_evaluation
from evaluation.suites.quality import run_quality_evaluation
from pipelines.operations.maintenance.gc import run_gc
from pipelines.operations.maintenance.gc_settings import GcSettings
from pipelines.operations.maintenance.repair import RepairSettings, carry_out, examine, plan_repair
from preprocessing.clips.selection import ClipSettings
from preprocessing.dataset.joining import DatasetSettings, run_dataset
from preprocessing.dataset.splits import SplitSettings
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, run_step
from preprocessing.sources.remote import source_path
from preprocessing.sources.stored_catalog import SourceSettings, load_batches, scan_sources
from storage.integrity.reading import Night
from storage.root import open_root
from tests.factories.training.toy_run import CONFIG as TOY_CONFIG
from tests.factories.training.toy_run import STEPS as TOY_STEPS
from training.jobs.job import TrainingJob
from training.jobs.stage_run import run_stage
from training.jobs.worker import train
from training.launch.local_ranks import local_ranks_command
from training.launch.process_group import run_command
from training.stage_catalog import STAGE_NAMES

CONFIG: Final = TOY_CONFIG.replace(steps=TOY_STEPS, batch_size=2)
TOY_WORKER: Final = "tests.factories.training.toy_worker"
EVALUATION: Final = EvaluationConfig(
    run=CONFIG.run, split="train", self_videos=2, cross_videos=1, control_bases=1, frames=12, device="cpu"
)
# Short rendered clips: the mouth hardly moves in one second.
SETTINGS: Final = PreprocessingSettings(clips=ClipSettings(minimum_mouth_motion=0.001))
DATASET_SETTINGS: Final = DatasetSettings(splits=SplitSettings(validation_share=0, test_share=0))


@dataclass(frozen=True)
class Workplace:
    """Where an operator works."""

    root: Path
    videos: Path
    workers: int = 0  # of preprocessing and of the control evaluation; 0: in the operator's process
    supervised: bool = False  # training in processes of its own, as Dagster starts it
    settings: PreprocessingSettings = field(default=SETTINGS)


Node = Callable[[UPath, Workplace], None]


def _scan(root: UPath, place: Workplace) -> None:
    scan_sources(root, [place.videos], SourceSettings())


def _step(name: str) -> Node:
    def run(root: UPath, place: Workplace) -> None:
        for batch in load_batches(root):
            run_step(root, name, batch, place.settings, workers=place.workers)

    return run


def _stage(name: str) -> Node:
    def run(root: UPath, place: Workplace) -> None:
        run_stage(root, name, CONFIG, _launch_processes if place.supervised else _train_here)

    return run


def _train_here(job: Path, processes: int) -> None:
    assert processes == 1
    train(TrainingJob.read(job))


def _launch_processes(job: Path, processes: int) -> None:
    run_command(local_ranks_command(processes, TOY_WORKER, str(job)))


def collect_garbage(root: UPath, place: Workplace) -> None:
    """Remove all that is not referenced."""
    del place
    run_gc(root, GcSettings(keep_days=0.0), remove=True)


def repair_root(root: UPath, place: Workplace) -> None:
    """Verify every byte, set damaged builds aside and build them again, as `pdfgc repair` does."""
    settings = RepairSettings(
        place.settings, DATASET_SETTINGS, SourceSettings(), (source_path(str(place.videos)),), place.workers
    )
    found = examine(root, Night.of(1.0), threads=1)
    failed = carry_out(root, plan_repair(root, found, settings), settings)
    if failed:
        raise RuntimeError(f"repair left {failed}")


PREPROCESSING: Final[Mapping[str, Node]] = {
    "source_videos": _scan,
    **{name: _step(name) for name in STEPS},
    "dataset": lambda root, _: _ignore(run_dataset(root, DATASET_SETTINGS)),
}
TRAINING: Final[Mapping[str, Node]] = {name: _stage(name) for name in STAGE_NAMES}
EVALUATING: Final[Mapping[str, Node]] = {
    "generated_videos": lambda root, _: _ignore(run_generated_videos(root, EVALUATION)),
    "lip_sync_evaluation": lambda root, _: _ignore(run_lip_sync_evaluation(root, EVALUATION)),
    "control_evaluation": lambda root, place: _ignore(
        run_control_evaluation(root, EVALUATION, workers=place.workers)
    ),
    "quality_evaluation": lambda root, _: _ignore(run_quality_evaluation(root, EVALUATION)),
    "evaluation_report": lambda root, _: _ignore(run_report(root, CONFIG.run, ReportSettings())),
}
NODES: Final[Mapping[str, Node]] = {**PREPROCESSING, **TRAINING, **EVALUATING}
GARBAGE: Final[Mapping[str, Node]] = {"gc": collect_garbage}
# What was made from damaged builds is built again by its own command.
REPAIR: Final[Mapping[str, Node]] = {"repair": repair_root, **NODES}


def run_nodes(place: Workplace, nodes: Mapping[str, Node]) -> None:
    """Run nodes in order; those that are up to date do nothing."""
    root = open_root(str(place.root))
    for node in nodes.values():
        node(root, place)


def _ignore(_: object) -> None:
    """A node gives nothing."""
