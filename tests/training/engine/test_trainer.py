"""The trainer: errors, logging that does not change the weights, held-out metrics."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from typing_extensions import override
from upath import UPath

from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import CONFIG, LOGGING, TOY_RUN, publish_weights
from training.data.batches import LabelledFrames
from training.data.index import ClipIndex, open_current
from training.data.sampling import World
from training.data.sources import LabelledFrameSource
from training.engine.checkpoint import (
    UnfitCheckpointError,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.distributed import DistributedContext
from training.engine.ema import EMA
from training.engine.optimizer import NotFiniteError
from training.engine.progress import HeldOutMetric
from training.engine.settings import LoggingConfig, TrainerSettings
from training.engine.trainer import Trainer, TrainerPlan
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.worker import read_parents, train
from training.stages.perception import PerceptionModel
from training.stages.stage import LossModule, Stage, StageContext, StepResult, real_rows

pytestmark = pytest.mark.usefixtures("toy_presets")
# Loader workers cost more than they save here.
QUIET = LOGGING.replace(workers=0, samples_every_steps=100, held_out_every_steps=0)


@pytest.fixture
def set_logging(monkeypatch: pytest.MonkeyPatch) -> Callable[[LoggingConfig], None]:
    def put(logging: LoggingConfig) -> None:
        monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, logging=logging))

    return put


def run(root: UPath, work: Path, stage: str = "perception", config: TrainingConfig = CONFIG) -> None:
    work.mkdir(exist_ok=True)
    train(TrainingJob(root=str(root), stage=stage, config=config, work=work))


def put_nan(monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
    """The gaze loss is NaN at one call of the model, the first being 1."""
    forward, calls = PerceptionModel.forward, list[int]()

    def forward_with_nan(self: PerceptionModel, batch: LabelledFrames) -> StepResult:
        calls.append(1)
        losses = dict(forward(self, batch).losses)
        return StepResult(losses | {"gaze": losses["gaze"] * (math.nan if len(calls) == at_call else 1.0)})

    monkeypatch.setattr(PerceptionModel, "forward", forward_with_nan)


@pytest.mark.parametrize(("nan_step", "checkpoint_step"), [(6, 3), (3, None)])
def test_trainer_stops_at_nan_before_saving_it(
    tmp_path: Path,
    toy_root: UPath,
    monkeypatch: pytest.MonkeyPatch,
    set_logging: Callable[[LoggingConfig], None],
    nan_step: int,
    checkpoint_step: int | None,
) -> None:
    set_logging(QUIET.replace(finite_check_every_steps=50))
    put_nan(monkeypatch, nan_step)
    with pytest.raises(NotFiniteError, match=r"perception: loss or gradient is not finite at step \d"):
        run(toy_root, tmp_path / "work")
    newest = newest_checkpoint(tmp_path / "work" / CHECKPOINTS_FOLDER)
    assert (newest and newest.name) == (checkpoint_step and f"step-{checkpoint_step:08d}")
    saved = json.loads((tmp_path / "work" / "rank-0-not_finite.json").read_text())
    assert saved["step"] == nan_step - 1
    assert saved["losses"]["gaze"] == "nan"
    assert [len(batch["keys"]) for batch in saved["batches"]] == [2] * 3
    assert all(key.startswith("clip-") for batch in saved["batches"] for key in batch["keys"])


def test_logging_config_does_not_change_the_weights(
    tmp_path: Path, toy_root: UPath, set_logging: Callable[[LoggingConfig], None]
) -> None:
    results: list[bytes] = []
    busy = LoggingConfig(
        log_every_steps=1,
        checkpoint_every_steps=2,
        checkpoints_kept=1,
        samples_every_steps=1,
        held_out_every_steps=1,
        held_out_rows=2,
        workers=0,
    )
    for number, logging in enumerate((QUIET.replace(checkpoint_every_steps=100), busy)):
        set_logging(logging)
        run(toy_root, tmp_path / str(number), "stage1_motion", CONFIG.replace(steps=4))
        results.append(b"".join((tmp_path / str(number) / f"{name}.safetensors").read_bytes() for name in
                             ("weights", "ema")))  # fmt: skip
    assert results[0] == results[1]
    assert len(list((tmp_path / "1" / "samples").iterdir())) == 4


def test_trainer_also_saves_checkpoints_by_time(
    tmp_path: Path, toy_root: UPath, set_logging: Callable[[LoggingConfig], None]
) -> None:
    set_logging(QUIET.replace(checkpoint_every_steps=100, checkpoint_every_minutes=1e-9, checkpoints_kept=9))
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=3))
    saved = sorted(path.name for path in (tmp_path / "work" / CHECKPOINTS_FOLDER).iterdir())
    assert saved == ["step-00000001", "step-00000002", "step-00000003"]


def test_trainer_resumes_a_run_of_more_processes(
    tmp_path: Path,
    toy_root: UPath,
    set_logging: Callable[[LoggingConfig], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The checkpoint of one process is rewritten as that of two, which drew twice as many samples."""
    set_logging(QUIET)
    folder = tmp_path / "work" / CHECKPOINTS_FOLDER
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=3))
    newest = newest_checkpoint(folder)
    assert newest is not None
    alone = read_checkpoint(newest)
    assert alone.ranks[0].cursor["position"] == 3 * 2
    assert alone.ema is not None
    rank = dataclasses.replace(alone.ranks[0], cursor=dict(alone.ranks[0].cursor) | {"position": 3 * 2 * 2})
    facts = dataclasses.replace(alone.facts, ranks=2)
    shutil.rmtree(newest)
    write_checkpoint(folder, facts, alone.weights.tensors, alone.ema.tensors, alone.optimizers, [rank] * 2)
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=5))
    assert "perception had 2 processes and now has 1: random state and memory banks start" in caplog.text
    newest = newest_checkpoint(folder)
    assert newest is not None
    resumed = read_checkpoint(newest)
    assert (resumed.facts.step, resumed.facts.ranks) == (5, 1)
    assert resumed.ranks[0].cursor["position"] == 3 * 2 * 2 + 2 * 2


def test_trainer_rejects_checkpoint_of_other_settings(
    tmp_path: Path, toy_root: UPath, set_logging: Callable[[LoggingConfig], None]
) -> None:
    set_logging(QUIET)
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=1))
    with pytest.raises(
        UnfitCheckpointError,
        match=r"settings\.trainer\.batch_size: 2 in the checkpoint, 3 here; settings\.trainer\.seed",
    ):
        run(toy_root, tmp_path / "work", config=CONFIG.replace(batch_size=3, seed=4))


def test_trainer_updates_ema_once_per_step(
    tmp_path: Path,
    toy_root: UPath,
    monkeypatch: pytest.MonkeyPatch,
    set_logging: Callable[[LoggingConfig], None],
) -> None:
    set_logging(QUIET)
    steps: list[int] = []
    update = EMA.update

    def record(self: EMA, step: int) -> None:
        steps.append(step)
        update(self, step)

    monkeypatch.setattr(EMA, "update", record)
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=3))
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=5))
    assert steps == [0, 1, 2, 3, 4]


def test_trainer_runs_in_bfloat16(
    tmp_path: Path,
    toy_root: UPath,
    caplog: pytest.LogCaptureFixture,
    set_logging: Callable[[LoggingConfig], None],
) -> None:
    caplog.set_level("INFO")
    set_logging(QUIET)
    config = CONFIG.replace(steps=2, precision="bfloat16")
    for stage in ("stage1_motion", "stage3_expression"):
        run(toy_root, tmp_path / stage, stage, config)
        assert f"Trained {stage} for 2 steps" in caplog.text


def test_read_parents_names_the_missing_parent(toy_root: UPath) -> None:
    config = CONFIG.replace(run="new")
    with pytest.raises(
        ValueError,
        match="stage2_lip starts from stage1_motion, which run 'new' has not trained yet: train it",
    ):
        read_parents(toy_root, "stage2_lip", config)
    assert set(read_parents(toy_root, "stage2_lip", config.replace(parents_run="toy"))) == {"stage1_motion"}


def test_trainer_rejects_parent_of_other_shapes(
    tmp_path: Path, toy_root: UPath, set_logging: Callable[[LoggingConfig], None]
) -> None:
    set_logging(QUIET)
    publish_weights(toy_root, "perception", "foreign", {"perception": torch.nn.Linear(2, 3)})
    config = CONFIG.replace(run="child", parents_run="foreign")
    with pytest.raises(
        ValueError,
        match=r"perception of run 'foreign': perception does not fit PerceptionNetwork .*trunk\.conv1",
    ):
        run(toy_root, tmp_path / "work", "stage1_motion", config)


class Counting(Stage[LabelledFrames]):
    """Counts the rows that it is given."""

    name, version, settings_type = "counting", "1", object

    def __init__(self, context: StageContext, settings: object) -> None:
        del context, settings
        self.batches: list[LabelledFrames] = []
        self.model, self.saved = LossModule(), {}

    @override
    def source(self, index: ClipIndex) -> LabelledFrameSource:
        return LabelledFrameSource(index)

    @override
    def held_out(self, batches: Iterable[LabelledFrames]) -> list[HeldOutMetric]:
        self.batches = list(batches)
        rows = sum(len(real_rows(batch)) for batch in self.batches)
        return [HeldOutMetric("rows", float(rows), None, higher_is_better=True)]


def counting_trainer(
    root: UPath, work: Path, monkeypatch: pytest.MonkeyPatch, *, rows: int, batch_size: int
) -> tuple[Counting, Trainer[LabelledFrames]]:
    monkeypatch.setattr(Trainer, "_build_optimizers", lambda _: {})
    stage = Counting(StageContext(TOY, {}), None)
    settings = TrainerSettings(steps=1, batch_size=batch_size)
    plan = TrainerPlan(settings, QUIET.replace(held_out_rows=rows, workers=2), work, {})
    indexes = open_current(root, "train"), open_current(root, "validation")
    distributed = DistributedContext(World(), torch.device("cpu"))
    return stage, Trainer(stage, *indexes, plan, distributed, lambda _: None)


@pytest.mark.parametrize(("rows", "passes"), [(1, 1), (2, 1), (3, 2), (5, 3)])
def test_measure_repeats_a_short_validation_split(
    tmp_path: Path, toy_root: UPath, monkeypatch: pytest.MonkeyPatch, rows: int, passes: int
) -> None:
    index = open_current(toy_root, "validation")
    assert len(index) == 2
    stage, trainer = counting_trainer(toy_root, tmp_path, monkeypatch, rows=rows, batch_size=3)
    (metric,) = trainer.measure()
    assert metric.value == 2 * passes
    assert [batch.facts.real for batch in stage.batches] == [(True, True, False)] * passes
    assert [batch.facts.epochs for batch in stage.batches] == [(epoch,) * 3 for epoch in range(passes)]
    keys = {batch.facts.keys[:2] for batch in stage.batches}
    assert keys == {(index.key(0), index.key(1))}


def test_measure_draws_new_frames_per_pass_and_repeats_them(
    tmp_path: Path, toy_root: UPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, trainer = counting_trainer(toy_root, tmp_path, monkeypatch, rows=12, batch_size=2)
    drawn: list[list[tuple[int, ...]]] = []
    for _ in range(2):
        trainer.measure()
        drawn.append([batch.facts.frames for batch in stage.batches])
    assert len(drawn[0]) == 6
    assert len(set(drawn[0])) > 1
    assert drawn[0] == drawn[1]
