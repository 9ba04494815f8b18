"""What a run leaves when something is wrong, and when it is looked at."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from upath import UPath

from tests.factories.toy_run import CADENCE, CONFIG, TOY_RUN, ListReporter, publish_weights
from training.data.batches import LabelledFrames
from training.engine.checkpoint import CHECKPOINTS_FOLDER, UnfitCheckpointError, newest_checkpoint
from training.engine.ema import Averages
from training.engine.finite_guard import NotFiniteError
from training.engine.settings import Cadence
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.worker import read_parents, train
from training.stages.perception import PerceptionModel
from training.stages.stage import StepResult

pytestmark = pytest.mark.usefixtures("toy_presets")
# Loader workers cost more than they bring here.
QUIET = CADENCE.replace(workers=0, samples_every_steps=100, held_out_every_steps=0)


@pytest.fixture
def set_cadence(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cadence], None]:
    def put(cadence: Cadence) -> None:
        monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, cadence=cadence))

    return put


def run(root: UPath, work: Path, stage: str = "perception", config: TrainingConfig = CONFIG) -> str:
    work.mkdir(exist_ok=True)
    reporter = ListReporter()
    train(TrainingJob(root=str(root), stage=stage, config=config, work=work), reporter)
    return "\n".join(reporter.lines)


def spoil(monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
    """The gaze loss is NaN at one call of the model, the first being 1."""
    whole, calls = PerceptionModel.forward, list[int]()

    def spoiled(self: PerceptionModel, batch: LabelledFrames) -> StepResult:
        calls.append(1)
        losses = dict(whole(self, batch).losses)
        return StepResult(losses | {"gaze": losses["gaze"] * (math.nan if len(calls) == at_call else 1.0)})

    monkeypatch.setattr(PerceptionModel, "forward", spoiled)


@pytest.mark.parametrize(("spoiled_step", "whole_step"), [(6, 3), (3, None)])
def test_a_nan_stops_the_run_before_a_checkpoint_would_hold_it(
    tmp_path: Path,
    toy_root: UPath,
    monkeypatch: pytest.MonkeyPatch,
    set_cadence: Callable[[Cadence], None],
    spoiled_step: int,
    whole_step: int | None,
) -> None:
    set_cadence(QUIET.replace(finite_check_every_steps=50))
    spoil(monkeypatch, spoiled_step)
    with pytest.raises(NotFiniteError, match=r"perception: step \d is not finite"):
        run(toy_root, tmp_path / "work")
    newest = newest_checkpoint(tmp_path / "work" / CHECKPOINTS_FOLDER)
    assert (newest and newest.name) == (whole_step and f"step-{whole_step:08d}")
    told = json.loads((tmp_path / "work" / "rank-0-not_finite.json").read_text())
    assert told["step"] == spoiled_step - 1
    assert told["losses"]["gaze"] == "nan"
    assert [len(batch["keys"]) for batch in told["batches"]] == [2] * 3
    assert all(key.startswith("clip-") for batch in told["batches"] for key in batch["keys"])


def test_looking_saving_and_telling_change_no_weight(
    tmp_path: Path, toy_root: UPath, set_cadence: Callable[[Cadence], None]
) -> None:
    left: list[bytes] = []
    busy = Cadence(
        log_every_steps=1,
        checkpoint_every_steps=2,
        checkpoints_kept=1,
        samples_every_steps=1,
        held_out_every_steps=1,
        held_out_rows=2,
        workers=0,
    )
    for number, cadence in enumerate((QUIET.replace(checkpoint_every_steps=100), busy)):
        set_cadence(cadence)
        run(toy_root, tmp_path / str(number), "stage1_motion", CONFIG.replace(steps=4))
        left.append(b"".join((tmp_path / str(number) / f"{name}.safetensors").read_bytes() for name in
                             ("weights", "averages")))  # fmt: skip
    assert left[0] == left[1]
    assert len(list((tmp_path / "1" / "samples").iterdir())) == 4


def test_a_checkpoint_of_another_choice_is_refused_with_what_differs(
    tmp_path: Path, toy_root: UPath, set_cadence: Callable[[Cadence], None]
) -> None:
    set_cadence(QUIET)
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=1))
    with pytest.raises(
        UnfitCheckpointError,
        match=r"settings\.loop\.batch_size: 2 in the checkpoint, 3 here; settings\.loop\.seed",
    ):
        run(toy_root, tmp_path / "work", config=CONFIG.replace(batch_size=3, seed=4))


def test_the_averages_follow_the_weights_step_by_step(
    tmp_path: Path, toy_root: UPath, monkeypatch: pytest.MonkeyPatch, set_cadence: Callable[[Cadence], None]
) -> None:
    set_cadence(QUIET)
    seen: list[int] = []
    update = Averages.update

    def noting(self: Averages, step: int) -> None:
        seen.append(step)
        update(self, step)

    monkeypatch.setattr(Averages, "update", noting)
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=3))
    run(toy_root, tmp_path / "work", config=CONFIG.replace(steps=5))
    assert seen == [0, 1, 2, 3, 4]


def test_bfloat16_trains(tmp_path: Path, toy_root: UPath, set_cadence: Callable[[Cadence], None]) -> None:
    set_cadence(QUIET)
    config = CONFIG.replace(steps=2, precision="bfloat16")
    for stage in ("stage1_motion", "stage3_expression"):
        assert "2 steps done" in run(toy_root, tmp_path / stage, stage, config)


def test_a_stage_whose_parent_is_missing_says_which_to_train_first(toy_root: UPath) -> None:
    config = CONFIG.replace(run="new")
    with pytest.raises(
        ValueError,
        match="stage2_lip starts from stage1_motion, which run 'new' has not trained yet: train it",
    ):
        read_parents(toy_root, "stage2_lip", config)
    assert set(read_parents(toy_root, "stage2_lip", config.replace(parents_run="toy"))) == {"stage1_motion"}


def test_a_parent_of_other_shapes_is_refused_with_its_keys(
    tmp_path: Path, toy_root: UPath, set_cadence: Callable[[Cadence], None]
) -> None:
    set_cadence(QUIET)
    publish_weights(toy_root, "perception", "foreign", {"perception": torch.nn.Linear(2, 3)})
    config = CONFIG.replace(run="child", parents_run="foreign")
    with pytest.raises(
        ValueError,
        match=r"perception of run 'foreign': perception does not fit PerceptionNetwork .*trunk\.conv1",
    ):
        run(toy_root, tmp_path / "work", "stage1_motion", config)
