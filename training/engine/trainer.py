"""The training loop: runs a stage from its first step, or its last checkpoint, to its last step."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from models.shapes import to_channels_last
from preprocessing.schema import SCHEMA_VERSION
from training.data.batches import Batch
from training.data.index import ClipIndex, NoSamplesError
from training.data.loader import BatchStream, LoaderSettings, single_pass
from training.data.sampling import Cursor
from training.data.sources import Source
from training.engine.all_ranks import gather_rows, use_global_statistics
from training.engine.checkpoint import (
    Checkpoint,
    CheckpointFacts,
    RankState,
    keep_newest,
    newest_checkpoint,
    read_checkpoint,
    require_fit,
    write_checkpoint,
)
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.distributed import DistributedContext
from training.engine.ema import EMA, ema_scope
from training.engine.metrics_log import Meter, MetricsLog
from training.engine.optimizer import FiniteGuard, OptimizerStep
from training.engine.progress import HeldOutMetric, TrainingProgress
from training.engine.settings import LoggingConfig, TrainerSettings
from training.engine.stage_weights import collect
from training.stages.stage import Stage

AnyBatch = TypeVar("AnyBatch", bound=Batch)

logger = logging.getLogger(__name__)


class TrainingStoppedError(Exception):
    """A run was asked to stop; its checkpoint is written. The message says at which step."""

    def __init__(self, stage: str, step: int, steps: int) -> None:
        super().__init__(f"{stage} stopped at step {step} of {steps}; launch the same again to go on")
        self.step = step


class Request(IntEnum):
    """What a step must end with, beside what its number asks for; of several ranks the largest counts."""

    NONE = 0
    CHECKPOINT = 1
    STOP = 2


@dataclass(frozen=True)
class TrainerPlan:
    """What the trainer needs beside the stage."""

    settings: TrainerSettings
    logging: LoggingConfig
    work: Path  # folder that it fills, and resumes from
    configuration: Mapping[str, Any]  # JSON values; a resumed run must have the same


class Trainer(Generic[AnyBatch]):
    """One run of a stage. Every rank builds one, and all step together."""

    def __init__(
        self,
        stage: Stage[AnyBatch],
        train: ClipIndex,
        validation: ClipIndex | None,
        plan: TrainerPlan,
        distributed: DistributedContext,
        on_progress: Callable[[TrainingProgress], None],
        stop_requested: Callable[[], bool] = lambda: False,
        on_checkpoint: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """Move the stage to its device and load the newest checkpoint, if there is one.

        `on_progress` is called on rank 0, every `log_every_steps`. Once `stop_requested` is true on any rank,
        `run` finishes the step, writes a checkpoint and raises. `on_checkpoint` is called on rank 0 with the
        folder of each checkpoint, while the other ranks wait.

        Raises:
            UnfitCheckpointError: the checkpoint is of another configuration.
            ValueError: the checkpoint is damaged, or the data differ from those it was trained on.
        """
        self.stage, self.plan, self.distributed, self._on_progress = stage, plan, distributed, on_progress
        self._train, self._validation, self._stop_requested = train, validation, stop_requested
        self._on_checkpoint = on_checkpoint
        stage.to(distributed.device)
        if plan.settings.channels_last:
            to_channels_last(stage.model)
            if stage.adversary is not None:
                to_channels_last(stage.adversary)
        if plan.settings.gather_over_ranks and distributed.world.ranks > 1:
            use_global_statistics(stage.model, distributed.device)
            stage.model.gather_rows = gather_rows
        self._prepare()
        checkpoint = self._newest()
        if checkpoint is not None:
            for part, network in stage.saved.items():
                checkpoint.weights.load_into(part, network)
        self.ema = EMA({name: stage.saved[name] for name in stage.averaged}, plan.settings.ema_decay)
        if plan.settings.compiled:
            stage.model.compile()
        self._optimizers = self._build_optimizers()
        self.step = self._resumed_at = 0 if checkpoint is None else checkpoint.facts.step
        source = stage.source(train)
        cursor = self._restore(checkpoint) if checkpoint is not None else None
        self.stream = BatchStream(source, self._loader_settings(), distributed.world, cursor)
        self._log = MetricsLog(plan.work, self.step) if distributed.is_first else None
        self._saved_at = time.monotonic()
        self._guard = FiniteGuard(stage.name, plan.work, distributed.world.rank, plan.logging)

    def _prepare(self) -> None:
        """What the stage computes of frozen networks, with the random state restored."""
        device = self.distributed.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(0)
            self.stage.model.eval()
            indexes = [self._train] if self._validation is None else [self._train, self._validation]
            self.stage.prepare(indexes, self._loader_settings())

    def run(self) -> list[HeldOutMetric]:
        """Train to the last step; return the held-out metrics at the end.

        Raises:
            NotFiniteError: a loss or gradient is not finite.
            TrainingStoppedError: it was asked to stop.
        """
        steps = self.plan.settings.steps
        started, meter = time.monotonic(), Meter(self.distributed.device)
        self.stage.model.train()
        if self.stage.adversary is not None:
            self.stage.adversary.train()
        batches = iter(self.stream)
        while self.step < steps:
            request = self._request()
            if request is Request.STOP and self.step == self._resumed_at:  # nothing to save
                raise TrainingStoppedError(self.stage.name, self.step, steps)
            batch = next(batches)
            self._train_step(batch, meter, due=request is not Request.NONE)
            self.step += 1
            self._end_step(batch, meter, request)
            if request is Request.STOP and self.step < steps:
                raise TrainingStoppedError(self.stage.name, self.step, steps)
        metrics = self.measure()
        if self._log is not None:
            self._log.close()
            logger.info(
                "Trained %s for %d steps in %.1f s", self.stage.name, self.step, time.monotonic() - started
            )
        return metrics

    def _end_step(self, batch: AnyBatch, meter: Meter, request: Request) -> None:
        """Whatever is due after a step: log, samples, held-out metrics, checkpoint."""
        every, last = self.plan.logging, self.step == self.plan.settings.steps
        if last or self.step % every.log_every_steps == 0:
            self._report(meter)
        if last or self.step % every.samples_every_steps == 0:
            self._write_samples(batch)
        if not last and every.held_out_every_steps and self.step % every.held_out_every_steps == 0:
            self.measure()
        if last:
            self._finish()
        if last or request is not Request.NONE or self.step % every.checkpoint_every_steps == 0:
            self.save()

    def _request(self) -> Request:
        """What the next step must end with.

        Several ranks agree only at steps that log, because that makes the GPU wait.
        """
        ranks, every = self.distributed.world.ranks, self.plan.logging
        if ranks > 1 and self.step % every.log_every_steps:
            return Request.NONE
        minutes = (time.monotonic() - self._saved_at) / 60
        own = Request.CHECKPOINT if minutes >= every.checkpoint_every_minutes else Request.NONE
        return Request(self.distributed.largest(Request.STOP if self._stop_requested() else own))

    def _train_step(self, batch: AnyBatch, meter: Meter, *, due: bool) -> None:
        moved = batch.to(self.distributed.device, non_blocking=True)
        result, total, gradient_norm = self._optimizers["model"].step(self.step, moved)
        losses, checked = dict(result.losses), [total, gradient_norm]
        if "adversary" in self._optimizers:
            assert result.real is not None
            assert result.generated is not None
            adversary_result, adversary_total, adversary_norm = self._optimizers["adversary"].step(
                self.step, result.real.detach(), result.generated.detach()
            )
            losses |= adversary_result.losses
            checked += [adversary_total, adversary_norm]
        self.ema.update(self.step)
        meter.end_step(losses, total, len(batch) * self.distributed.world.ranks)
        done = self.step + 1
        # A checkpoint must never hold values that are not finite.
        due = due or done == self.plan.settings.steps or done % self.plan.logging.checkpoint_every_steps == 0
        self._guard.check(self.step, batch, checked, losses, now=due)

    def measure(self) -> list[HeldOutMetric]:
        """Held-out metrics of the averaged networks; on rank 0, while the other ranks wait."""
        metrics: list[HeldOutMetric] = []
        source = self._held_out_source() if self.distributed.is_first else None
        if source is not None:
            with ema_scope(self.stage, self.ema, self.distributed.device):
                metrics = self.stage.held_out(self._held_out_batches(source))
            assert self._log is not None
            self._log.held_out(self.step, metrics)
            shown = ", ".join(metric.line() for metric in metrics)
            logger.info("Held-out metrics of %s at step %d: %s", self.stage.name, self.step, shown)
        self.distributed.barrier()
        return metrics

    def _held_out_source(self) -> Source[AnyBatch] | None:
        """The samples of the validation split; None, and a log line, where it has none of the kind."""
        reason = "the data set has no validation split"
        if self._validation is not None:
            try:
                return self.stage.source(self._validation)
            except NoSamplesError as error:
                reason = str(error)
        logger.warning("No held-out metrics of %s: %s", self.stage.name, reason)
        return None

    def _held_out_batches(self, source: Source[AnyBatch]) -> Iterator[AnyBatch]:
        """Batches of about `held_out_rows` rows, read in this process.

        A short split is passed several times, each time with other frames and negatives of its clips, so
        that a metric does not depend on one draw per clip.
        """
        settings = self._loader_settings().replace(workers=0, pin_memory=False)
        rows, epoch = 0, 0
        while True:
            for batch in single_pass(source, settings, epoch=epoch):
                yield batch.to(self.distributed.device)
                rows += sum(batch.facts.real)
                if rows >= self.plan.logging.held_out_rows:
                    return
            epoch += 1

    def _finish(self) -> None:
        """On rank 0, whose networks the checkpoint holds."""
        if self.distributed.is_first:
            with ema_scope(self.stage, self.ema, self.distributed.device):
                self.stage.finish(self._train, self._loader_settings())

    def save(self) -> None:
        """Write a checkpoint; every rank takes part."""
        self._saved_at = time.monotonic()
        states = self.distributed.gather(self._rank_state())
        if self.distributed.is_first:
            folder = self.plan.work / CHECKPOINTS_FOLDER
            target = write_checkpoint(
                folder,
                self._facts(),
                collect(self.stage.saved),
                collect(self.ema.networks),
                {name: step.optimizer.state_dict() for name, step in self._optimizers.items()},
                states,
            )
            keep_newest(folder, self.plan.logging.checkpoints_kept)
            logger.info("Saved checkpoint of %s at step %d (%s)", self.stage.name, self.step, target.name)
            self._on_checkpoint(target)
        self.distributed.barrier()

    def _report(self, meter: Meter) -> None:
        losses, total, seconds, images_per_second = meter.take()
        if self._log is None:
            return
        progress = TrainingProgress(
            stage=self.stage.name,
            step=self.step,
            steps=self.plan.settings.steps,
            losses=losses,
            seconds_per_step=seconds,
            seconds_left=seconds * (self.plan.settings.steps - self.step),
            images_per_second=images_per_second,
        )
        rates = {name: step.rate(self.step) for name, step in self._optimizers.items()}
        self._log.progress(progress, total=total, rates=rates)
        self._on_progress(progress)

    def _write_samples(self, batch: AnyBatch) -> None:
        if self._log is None:
            return
        with ema_scope(self.stage, self.ema, self.distributed.device):
            rows = self.stage.sample_grid(batch.to(self.distributed.device))
        if rows is not None:
            self._log.sample_grid(self.step, rows, self.stage.sample_columns)

    def _build_optimizers(self) -> dict[str, OptimizerStep]:
        stage, wrap, settings = self.stage, self.distributed.wrap, self.plan.settings
        weights, model = stage.loss_weights, stage.model
        steps = {"model": OptimizerStep(model, wrap(model), weights, stage.optimizer, settings)}
        if stage.adversary is not None:
            assert stage.adversary_optimizer is not None
            steps["adversary"] = OptimizerStep(
                stage.adversary, wrap(stage.adversary), weights, stage.adversary_optimizer, settings
            )
        return steps

    def _newest(self) -> Checkpoint | None:
        folder = newest_checkpoint(self.plan.work / CHECKPOINTS_FOLDER)
        if folder is None:
            if self.distributed.is_first:
                steps = self.plan.settings.steps
                logger.info("Starting %s at step 0 of %d, without a checkpoint", self.stage.name, steps)
            return None
        checkpoint = read_checkpoint(folder)
        require_fit(checkpoint.facts, self._facts(checkpoint.facts.step), str(folder))
        if self.distributed.is_first:
            logger.info(
                "Starting %s at step %d of %d, from checkpoint %s",
                self.stage.name,
                checkpoint.facts.step,
                self.plan.settings.steps,
                folder.name,
            )
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> Cursor:
        """Everything but the networks' weights; returns the position in the data."""
        if checkpoint.ema is not None:
            for name, network in self.ema.networks.items():
                checkpoint.ema.load_into(name, network)
        for name, step in self._optimizers.items():
            step.optimizer.load_state_dict(checkpoint.optimizers[name])
        rank, ranks = self.distributed.world.rank, self.distributed.world.ranks
        state = checkpoint.ranks[min(rank, len(checkpoint.ranks) - 1)]
        if ranks == checkpoint.facts.ranks:
            self.stage.load_rank_state(state.stage)
            torch.set_rng_state(state.cpu_random)
            if state.device_random is not None and self.distributed.device.type == "cuda":
                torch.cuda.set_rng_state(state.device_random, self.distributed.device)
        elif self.distributed.is_first:
            logger.warning(
                "%s had %d processes and now has %d: random state and memory banks start afresh",
                self.stage.name,
                checkpoint.facts.ranks,
                ranks,
            )
        return Cursor.from_json(dict(state.cursor))

    def _rank_state(self) -> RankState:
        device = self.distributed.device
        return RankState(
            cursor=self.stream.cursor.to_json(),
            cpu_random=torch.get_rng_state(),
            device_random=torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            stage={name: value.cpu() for name, value in self.stage.rank_state().items()},
        )

    def _facts(self, step: int | None = None) -> CheckpointFacts:
        return CheckpointFacts(
            stage=self.stage.name,
            step=self.step if step is None else step,
            ranks=self.distributed.world.ranks,
            configuration=self.plan.configuration,
            schema_version=SCHEMA_VERSION,
        )

    def _loader_settings(self) -> LoaderSettings:
        settings, logging_config = self.plan.settings, self.plan.logging
        return LoaderSettings(
            batch_size=settings.batch_size,
            seed=settings.seed,
            workers=logging_config.workers,
            prefetch_batches=logging_config.prefetch_batches,
            pin_memory=self.distributed.device.type == "cuda",
            maximum_corrupt_clips=settings.maximum_corrupt_clips,
        )
