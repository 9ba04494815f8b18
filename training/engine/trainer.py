"""The training loop: drives a stage from its first or its saved step to the last."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from models.memory_format import to_channels_last
from preprocessing.schema import SCHEMA_VERSION
from training.data.batches import Batch
from training.data.index import ClipIndex, NoSamplesError
from training.data.loader import BatchStream, LoaderSettings
from training.data.sampling import Cursor
from training.data.sources import Source
from training.engine.checkpoint import (
    CHECKPOINTS_FOLDER,
    Checkpoint,
    CheckpointFacts,
    RankState,
    keep_newest,
    newest_checkpoint,
    read_checkpoint,
    require_fit,
    write_checkpoint,
)
from training.engine.distributed import Process
from training.engine.ema import Averages
from training.engine.ema_scope import Looking
from training.engine.finite_guard import FiniteGuard
from training.engine.held_out import measure_held_out
from training.engine.meter import Meter
from training.engine.metrics_log import MetricsLog
from training.engine.optimizer_step import Turn
from training.engine.sample_grid import write_sample_grid
from training.engine.settings import Cadence, LoopSettings
from training.engine.stage_weights import collect
from training.jobs.reporting import Progress, Reporter
from training.stages.stage import Figure, Stage

AnyBatch = TypeVar("AnyBatch", bound=Batch)


@dataclass(frozen=True)
class LoopPlan:
    """What the loop needs beside the stage."""

    settings: LoopSettings
    cadence: Cadence
    work: Path  # what it fills, and resumes from
    configuration: Mapping[str, Any]  # JSON values: must be the same for a resumed run


class Loop(Generic[AnyBatch]):
    """One stage's run. Every process makes one; they step together."""

    def __init__(
        self,
        stage: Stage[AnyBatch],
        train: ClipIndex,
        validation: ClipIndex | None,
        plan: LoopPlan,
        process: Process,
        reporter: Reporter,
    ) -> None:
        """Move the stage to its device, go back to the newest checkpoint if there is one.

        Raises:
            UnfitCheckpointError: the checkpoint is of another configuration.
            ValueError: the checkpoint is damaged, or the data are not what it was trained on.
        """
        self.stage, self.plan, self.process, self._reporter = stage, plan, process, reporter
        self._train, self._validation = train, validation
        stage.to(process.device)
        if plan.settings.channels_last:
            to_channels_last(stage.model)
            if stage.adversary is not None:
                to_channels_last(stage.adversary)
        checkpoint = self._newest()
        if checkpoint is not None:
            for part, network in stage.saved.items():
                checkpoint.weights.load_into(part, network)
        self.averages = Averages(
            {name: stage.saved[name] for name in stage.averaged}, plan.settings.average_decay
        )
        if plan.settings.compiled:
            stage.model.compile()
        self._turns = self._make_turns()
        self.step = 0
        source = stage.source(train)
        cursor = self._take_over(checkpoint) if checkpoint is not None else None
        self.stream = BatchStream(source, self._loader_settings(), process.world, cursor)
        self._log = MetricsLog(plan.work, self.step) if process.is_first else None
        self._guard = FiniteGuard(stage.name, plan.work, process.world.rank, plan.cadence)

    def run(self) -> list[Figure]:
        """Train to the last step; return the held-out figures at the end.

        Raises:
            NotFiniteError: a loss or gradient is not finite.
        """
        settings, cadence = self.plan.settings, self.plan.cadence
        started, meter = time.monotonic(), Meter(self.process.device)
        self.stage.model.train()
        if self.stage.adversary is not None:
            self.stage.adversary.train()
        batches = iter(self.stream)
        while self.step < settings.steps:
            batch = next(batches)
            self._one_step(batch, meter)
            self.step += 1
            last = self.step == settings.steps
            if last or self.step % cadence.log_every_steps == 0:
                self._report(meter)
            if last or self.step % cadence.samples_every_steps == 0:
                self._show(batch)
            if not last and cadence.held_out_every_steps and self.step % cadence.held_out_every_steps == 0:
                self.measure()
            if last:
                self._finish()
            if last or self.step % cadence.checkpoint_every_steps == 0:
                self.save()
        figures = self.measure()
        if self._log is not None:
            self._log.close()
            self._reporter.note(
                f"{self.stage.name}: {self.step} steps done, {time.monotonic() - started:.1f} s"
            )
        return figures

    def _one_step(self, batch: AnyBatch, meter: Meter) -> None:
        moved = batch.to(self.process.device, non_blocking=True)
        result, total, length = self._turns["model"].play(self.step, moved)
        losses, checked = dict(result.losses), [total, length]
        if "adversary" in self._turns:
            assert result.real is not None
            assert result.generated is not None
            verdict, adversary_total, adversary_length = self._turns["adversary"].play(
                self.step, result.real.detach(), result.generated.detach()
            )
            losses |= verdict.losses
            checked += [adversary_total, adversary_length]
        self.averages.update(self.step)
        meter.end_step(losses, total, len(batch) * self.process.world.ranks)
        done = self.step + 1
        # A checkpoint must never hold what is not finite.
        due = (self.plan.settings.steps, self.plan.cadence.checkpoint_every_steps)
        self._guard.check(self.step, batch, checked, losses, now=done == due[0] or done % due[1] == 0)

    def measure(self) -> list[Figure]:
        """Held-out figures with the averaged networks; on rank 0, the others wait."""
        figures: list[Figure] = []
        source = self._held_out_source() if self.process.is_first else None
        if source is not None:
            with self.looking():
                rows = self.plan.cadence.held_out_rows
                settings = self._loader_settings()
                figures = measure_held_out(self.stage, source, settings, rows, self.process.device)
            assert self._log is not None
            self._log.figures(self.step, figures)
            self._reporter.figures(self.step, figures)
        self.process.wait_for_all()
        return figures

    def _held_out_source(self) -> Source[AnyBatch] | None:
        """The validation split's samples; None, and a note, where it has none of the kind."""
        reason = "the data set has no validation split"
        if self._validation is not None:
            try:
                return self.stage.source(self._validation)
            except NoSamplesError as error:
                reason = str(error)
        self._reporter.note(f"{self.stage.name}: no held-out figure: {reason}")
        return None

    def _finish(self) -> None:
        """On rank 0, whose networks the checkpoint holds."""
        if self.process.is_first:
            with self.looking():
                told = self.stage.finish(self._train, self._loader_settings())
            if told:
                self._reporter.note(f"{self.stage.name}: {told}")

    def save(self) -> None:
        """Write a checkpoint; every process takes part."""
        states = self.process.gather(self._rank_state())
        if self.process.is_first:
            folder = self.plan.work / CHECKPOINTS_FOLDER
            write_checkpoint(
                folder,
                self._facts(),
                collect(self.stage.saved),
                collect(self.averages.networks),
                {name: turn.optimiser.state_dict() for name, turn in self._turns.items()},
                states,
            )
            keep_newest(folder, self.plan.cadence.checkpoints_kept)
            self._reporter.note(f"{self.stage.name}: checkpoint at step {self.step}")
        self.process.wait_for_all()

    def looking(self) -> Looking:
        """Within it networks are in evaluation mode and averaged, and no random number is used up."""
        return Looking(self.stage, self.averages, self.process.device)

    def _report(self, meter: Meter) -> None:
        losses, total, seconds, images_per_second = meter.take()
        if self._log is None:
            return
        progress = Progress(
            stage=self.stage.name,
            step=self.step,
            steps=self.plan.settings.steps,
            losses=losses,
            seconds_per_step=seconds,
            seconds_left=seconds * (self.plan.settings.steps - self.step),
            images_per_second=images_per_second,
        )
        self._log.progress(
            progress, total=total, rates={name: turn.rate(self.step) for name, turn in self._turns.items()}
        )
        self._reporter.progress(progress)

    def _show(self, batch: AnyBatch) -> None:
        if self._log is None:
            return
        with self.looking():
            rows = self.stage.sample_grid(batch.to(self.process.device))
        if rows is None:
            return
        picture, jpeg = write_sample_grid(self.plan.work, self.step, rows)
        self._log.picture(self.step, picture)
        self._reporter.picture(self.step, jpeg)

    def _make_turns(self) -> dict[str, Turn]:
        stage, process, settings = self.stage, self.process, self.plan.settings
        weights = stage.loss_weights
        turns = {"model": Turn(stage.model, process.wrap(stage.model), weights, stage.optimiser, settings)}
        if stage.adversary is not None:
            assert stage.adversary_optimiser is not None
            wrapped = process.wrap(stage.adversary)
            turns["adversary"] = Turn(stage.adversary, wrapped, weights, stage.adversary_optimiser, settings)
        return turns

    def _newest(self) -> Checkpoint | None:
        folder = newest_checkpoint(self.plan.work / CHECKPOINTS_FOLDER)
        if folder is None:
            return None
        checkpoint = read_checkpoint(folder)
        require_fit(checkpoint.facts, self._facts(checkpoint.facts.step), str(folder))
        return checkpoint

    def _take_over(self, checkpoint: Checkpoint) -> Cursor:
        """Everything but the networks' weights; returns where the data go on."""
        self.step = checkpoint.facts.step
        if checkpoint.averages is not None:
            for name, network in self.averages.networks.items():
                checkpoint.averages.load_into(name, network)
        for name, turn in self._turns.items():
            turn.optimiser.load_state_dict(checkpoint.optimisers[name])
        rank, ranks = self.process.world.rank, self.process.world.ranks
        state = checkpoint.ranks[min(rank, len(checkpoint.ranks) - 1)]
        if ranks == checkpoint.facts.ranks:
            self.stage.load_rank_state(state.own)
            torch.set_rng_state(state.cpu_random)
            if state.device_random is not None and self.process.device.type == "cuda":
                torch.cuda.set_rng_state(state.device_random, self.process.device)
        if self.process.is_first:
            before = checkpoint.facts.ranks
            other = f"; {before} processes before, {ranks} now: noise and memory banks start anew"
            exact = "" if ranks == before else other
            self._reporter.note(f"{self.stage.name}: resumed at step {self.step}{exact}")
        return Cursor.from_json(dict(state.cursor))

    def _rank_state(self) -> RankState:
        device = self.process.device
        return RankState(
            cursor=self.stream.cursor.to_json(),
            cpu_random=torch.get_rng_state(),
            device_random=torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            own={name: value.cpu() for name, value in self.stage.rank_state().items()},
        )

    def _facts(self, step: int | None = None) -> CheckpointFacts:
        return CheckpointFacts(
            stage=self.stage.name,
            step=self.step if step is None else step,
            ranks=self.process.world.ranks,
            configuration=self.plan.configuration,
            schema_version=SCHEMA_VERSION,
        )

    def _loader_settings(self) -> LoaderSettings:
        settings, cadence = self.plan.settings, self.plan.cadence
        return LoaderSettings(
            batch_size=settings.batch_size,
            seed=settings.seed,
            workers=cadence.workers,
            prefetch_batches=cadence.prefetch_batches,
            pin_memory=self.process.device.type == "cuda",
            maximum_corrupt_clips=settings.maximum_corrupt_clips,
        )
