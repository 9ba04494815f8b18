"""What every process of a training job runs: build the stage, train it, write the files to publish.

python -m training.jobs.worker JOB.json                                   one process
python -m training.launch.local_ranks 4 training.jobs.worker JOB.json     four, on this machine
"""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from upath import UPath

from storage.disk import disk_errors_at
from storage.fingerprint import file_sha256
from storage.objects import is_local
from storage.publishing import Published, current
from storage.root import local_copy, open_root
from training.data.index import ClipIndex, open_current
from training.engine.checkpoint import EMA_NAME, WEIGHTS_NAME, newest_checkpoint
from training.engine.checkpoint_copies import copies_location, copy_checkpoint, restore_checkpoint
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.distributed import DistributedContext, join
from training.engine.progress import HeldOutMetric, TrainingProgress, write_held_out_metrics
from training.engine.stage_weights import StageWeights, read_weights, write_weights
from training.engine.trainer import Trainer, TrainerPlan, TrainingStoppedError
from training.jobs.config import TrainingConfig
from training.jobs.exported_start import load_exported
from training.jobs.job import TrainingJob
from training.jobs.labellers import require_one_labeller
from training.jobs.plan import plan_stage, require_named_weights
from training.jobs.recipe import run_configuration
from training.jobs.released_start import load_released
from training.launch.signals import STOPPED_EXIT, die_with_parent, stop_requests
from training.stage_catalog import stage_info
from training.stages.stage import StageContext, stage_class

logger = logging.getLogger(__name__)


def log_progress(progress: TrainingProgress) -> None:
    """Log one line."""
    logger.info("%s", progress.line())


def train(
    job: TrainingJob,
    on_progress: Callable[[TrainingProgress], None] = log_progress,
    on_checkpoint: Callable[[Path], None] = lambda _: None,
) -> None:
    """Train a job's stage in this process, together with the job's other processes.

    Fills `job.work` and resumes from what an interrupted run left there. Both functions are called on rank 0;
    `on_checkpoint` with the folder of each checkpoint, and without effect on the random numbers of training.

    Raises:
        ValueError: data, parents' weights or an earlier checkpoint do not fit.
        NotFiniteError: a loss or gradient is not finite.
        DiskError: the disk is full or read-only.
        TrainingStoppedError: SIGTERM or SIGINT came; a checkpoint is written.
    """
    die_with_parent()
    with stop_requests() as stop_requested, disk_errors_at(job.work), join(job.config.device) as distributed:
        # In a function of its own, so that DDP is destroyed before the process group. The last owner destroys
        # the group, and from within DDP that waits, with the GIL, for a thread that needs it (torch 2.11).
        _train_stage(job, distributed, on_progress, on_checkpoint, stop_requested)


def _train_stage(
    job: TrainingJob,
    distributed: DistributedContext,
    on_progress: Callable[[TrainingProgress], None],
    on_checkpoint: Callable[[Path], None],
    stop_requested: Callable[[], bool],
) -> None:
    root = open_root(job.root)
    require_one_labeller(root, job.stage, job.config)  # for job files written by hand
    require_named_weights(job.config)
    plan = plan_stage(job.stage, job.config)
    # Equal initial weights on every rank; then different noise on each.
    torch.manual_seed(plan.trainer.seed)
    context = StageContext(plan.networks, read_parents(root, job.stage, job.config), plan.pretrained)
    stage = stage_class(job.stage)(context, plan.settings)
    if plan.released_folder is not None:
        parts = load_released(stage, plan.released_folder, plan.networks)
        if distributed.is_first:
            logger.info("Initialised %s with the released weights of %s", job.stage, ", ".join(parts))
    if plan.exported_file is not None:
        parts = load_exported(stage, plan.exported_file, plan.networks)
        if distributed.is_first:
            logger.info("Initialised %s of %s with %s", ", ".join(parts), job.stage, plan.exported_file)
    torch.manual_seed(plan.trainer.seed + 1 + distributed.world.rank)
    train_index, held_out_index = _indexes(root, distributed)
    configuration = run_configuration(root, job.stage, job.config)
    trainer_plan = TrainerPlan(plan.trainer, plan.logging, job.work, configuration)
    if not is_local(root) and distributed.is_first_on_node:
        restore_checkpoint(root, _copies(job), job.work)
    distributed.barrier()
    trainer = Trainer(
        stage,
        train_index,
        held_out_index,
        trainer_plan,
        distributed,
        on_progress,
        stop_requested,
        partial(_after_checkpoint, root, job, distributed.device, on_checkpoint),
    )
    metrics = trainer.run()
    if distributed.is_first:
        write_results(job.work, metrics)
    distributed.barrier()


def _copies(job: TrainingJob) -> str:
    return copies_location(job.stage, job.config.run, job.work)


def _after_checkpoint(
    root: UPath,
    job: TrainingJob,
    device: torch.device,
    on_checkpoint: Callable[[Path], None],
    checkpoint: Path,
) -> None:
    """Copy it to the bucket, if the root is one; then call the hook with the random state restored."""
    if not is_local(root):
        copy_checkpoint(root, _copies(job), checkpoint, job.work)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        on_checkpoint(checkpoint)


def read_parents(root: UPath, stage: str, config: TrainingConfig) -> dict[str, StageWeights]:
    """The weights of a stage's parents; moving averages where there are any.

    Raises:
        FileNotFoundError: a file of weights is missing.
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
        for file in (WEIGHTS_NAME, EMA_NAME):
            if file in published.manifest.files:
                tensors |= _read_verified(published, file).tensors
        parents[name] = StageWeights(f"{name} of run {run!r}", tensors)
    return parents


def _read_verified(published: Published, file: str) -> StageWeights:
    path = local_copy(published.directory) / file
    expected, sha256 = published.manifest.files[file].sha256, file_sha256(path)
    if sha256 != expected:
        raise ValueError(
            f"{path} is damaged, train that stage again: its sha256 is {sha256}, published was {expected}"
        )
    return read_weights(path)


def write_results(work: Path, metrics: Sequence[HeldOutMetric]) -> None:
    """Write what is published into the work folder: the last checkpoint's weights and the metrics."""
    newest = newest_checkpoint(work / CHECKPOINTS_FOLDER)
    assert newest is not None
    for name in (WEIGHTS_NAME, EMA_NAME):
        if (newest / name).is_file():
            write_weights(work / name, read_weights(newest / name).tensors)
    write_held_out_metrics(work, metrics)


def _indexes(root: UPath, distributed: DistributedContext) -> tuple[ClipIndex, ClipIndex | None]:
    """Train and validation clips, the second None where there are none.

    From a bucket, the first process of each node copies the shards for all of the node.
    """
    if distributed.is_first_on_node:
        open_current(root, "train")
    distributed.barrier()
    train_index = open_current(root, "train")
    held_out = "validation" in set(train_index.split_of_identity.values())
    return train_index, open_current(root, "validation") if held_out else None


def main(arguments: Sequence[str]) -> int:
    """Run a job file."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m training.jobs.worker JOB.json, got {list(arguments)}\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        train(TrainingJob.read(Path(arguments[0])))
    except TrainingStoppedError as stopped:
        logger.info("%s", stopped)
        return STOPPED_EXIT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
