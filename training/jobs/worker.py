"""What every process of a training job runs: build the stage, train it, leave what is published.

python -m training.jobs.worker JOB.json                                   one process
torchrun --nproc-per-node 4 -m training.jobs.worker JOB.json              four
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from upath import UPath

from storage.atomic import write_atomically
from storage.fingerprint import file_sha256
from storage.publishing import Published, current
from storage.root import local_copy, open_root
from training.data.index import ClipIndex, open_current
from training.engine.checkpoint import AVERAGES_NAME, CHECKPOINTS_FOLDER, WEIGHTS_NAME, newest_checkpoint
from training.engine.distributed import Process, join
from training.engine.stage_weights import StageWeights, read_weights, write_weights
from training.engine.trainer import Loop, LoopPlan
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.labellers import require_one_labeller
from training.jobs.plan import plan_stage
from training.jobs.recipe import run_configuration
from training.jobs.released_start import begin_as_released
from training.jobs.reporting import Reporter, TextReporter
from training.launch.process_group import die_with_parent
from training.stage_catalog import stage_info
from training.stages.stage import Figure, StageContext, stage_class

FIGURES_NAME: Final = "figures.json"


def train(job: TrainingJob, reporter: Reporter) -> None:
    """Train a job's stage in this process, together with the job's other processes.

    Fills `job.work` and goes on from what a killed run left there.

    Raises:
        ValueError: data, parents' weights or an earlier checkpoint do not fit.
        NotFiniteError: a loss or gradient is not finite.
    """
    die_with_parent()
    with join(job.config.device) as process:
        root = open_root(job.root)
        require_one_labeller(root, job.stage, job.config, lambda _: None)  # a job file may be one's own
        plan = plan_stage(job.stage, job.config)
        # The same beginning on every rank; then each draws noise of its own.
        torch.manual_seed(plan.loop.seed)
        context = StageContext(plan.networks, read_parents(root, job.stage, job.config), plan.pretrained)
        stage = stage_class(job.stage)(context, plan.settings)
        if plan.released_folder is not None:
            taken = begin_as_released(stage, plan.released_folder, plan.networks)
            if process.is_first:
                reporter.note(f"{job.stage}: begins as the released {', '.join(taken)}")
        torch.manual_seed(plan.loop.seed + 1 + process.world.rank)
        train_index, held_out_index = _indexes(root, process)
        loop_plan = LoopPlan(
            plan.loop, plan.cadence, job.work, run_configuration(root, job.stage, job.config)
        )
        loop = Loop(stage, train_index, held_out_index, loop_plan, process, reporter)
        figures = loop.run()
        if process.is_first:
            leave(job.work, figures)
        process.wait_for_all()


def read_parents(root: UPath, stage: str, config: TrainingConfig) -> dict[str, StageWeights]:
    """The weights of the stages that a stage starts from; moving averages where there are any.

    Raises:
        FileNotFoundError: a file of weights is gone.
        ValueError: a parent is not trained yet in that run, or its weights are not as published.
    """
    run = config.parents_run or config.run
    parents: dict[str, StageWeights] = {}
    for name in stage_info(stage).parents:
        published = current(root, name, run)
        if published is None:
            raise ValueError(
                f"{stage} starts from {name}, which run {run!r} has not trained yet: train it first"
            )
        tensors: dict[str, Tensor] = {}
        for file in (WEIGHTS_NAME, AVERAGES_NAME):
            if file in published.manifest.files:
                tensors |= _read_as_published(published, file).tensors
        parents[name] = StageWeights(f"{name} of run {run!r}", tensors)
    return parents


def _read_as_published(published: Published, file: str) -> StageWeights:
    path = local_copy(published.directory) / file
    wanted, found = published.manifest.files[file].sha256, file_sha256(path)
    if found != wanted:
        raise ValueError(
            f"{path} is damaged, train that stage again: its sha256 is {found}, published was {wanted}"
        )
    return read_weights(path)


def leave(work: Path, figures: Sequence[Figure]) -> None:
    """Put what is published into the work folder: the last checkpoint, its weights, the figures."""
    newest = newest_checkpoint(work / CHECKPOINTS_FOLDER)
    assert newest is not None
    for name in (WEIGHTS_NAME, AVERAGES_NAME):
        if (newest / name).is_file():
            write_weights(work / name, read_weights(newest / name).tensors)
    told = [dataclasses.asdict(figure) for figure in figures]
    with write_atomically(work / FIGURES_NAME) as partial:
        partial.write_text(json.dumps(told, indent=1), "utf-8")


def _indexes(root: UPath, process: Process) -> tuple[ClipIndex, ClipIndex | None]:
    """Train and validation clips, the second None where there are none.

    Of a bucket, the first process copies the shards for all.
    """
    if process.is_first:
        open_current(root, "train")
    process.wait_for_all()
    train = open_current(root, "train")
    held_out = "validation" in set(train.split_of_identity.values())
    return train, open_current(root, "validation") if held_out else None


def main(arguments: Sequence[str]) -> int:
    """Run a job file."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m training.jobs.worker JOB.json, got {list(arguments)}\n")
        return 2
    train(TrainingJob.read(Path(arguments[0])), TextReporter())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
