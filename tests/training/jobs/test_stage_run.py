"""Training a stage, from the configuration to the published files; the job runs in this process."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from upath import UPath

from models.external.vgg19 import VGG19Config, VGG19Features
from storage.publishing import Published
from storage.root import local_copy
from tests.factories.training.toy_run import CONFIG, LOGGING, TOY_RUN, same
from training.engine.checkpoint import read_checkpoint
from training.engine.checkpoint_files import CHECKPOINTS_FOLDER
from training.engine.progress import read_held_out_metrics, read_metrics
from training.engine.stage_weights import read_weights, write_weights
from training.jobs import plan as plan_module
from training.jobs import stage_run as stage_run_module
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.stage_run import CHECKPOINT_FOLDER, reload_stage, run_stage
from training.jobs.worker import read_parents, train
from training.stages import stage2_eye
from training.stages.stage2_eye import EyeStage
from weights import catalog

pytestmark = pytest.mark.usefixtures("toy_presets")


class Launcher:
    """Runs jobs in this process; records the log of each, and the checkpoints it started from."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self.logs: list[str] = []
        self.checkpoints: list[list[str]] = []

    def __call__(self, job: Path, processes: int) -> None:
        assert processes == 1
        checkpoints = job.parent / CHECKPOINTS_FOLDER
        self.checkpoints.append([path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else [])
        train(TrainingJob.read(job))
        self.logs.append("\n".join(self._caplog.messages))
        self._caplog.clear()


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Launcher:
    caplog.set_level("INFO")
    logging = LOGGING.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, logging=logging))
    return Launcher(caplog)


def make_config(run: str, steps: int) -> TrainingConfig:
    return CONFIG.replace(run=run, steps=steps, parents_run="toy")


def run(
    root: UPath, config: TrainingConfig, launcher: Launcher, stage: str = "perception", *, force: bool = False
) -> Published:
    return run_stage(root, stage, config, launcher, force=force)


def same_weights(first: Published, second: Published) -> bool:
    names = ("weights.safetensors", "ema.safetensors")
    return all(
        (first.directory / name).read_bytes() == (second.directory / name).read_bytes() for name in names
    )


@pytest.mark.parametrize("stage", ["perception", "stage3_expression"])
def test_extended_run_equals_one_long_run(toy_root: UPath, launcher: Launcher, stage: str) -> None:
    run(toy_root, make_config("grown", 4), launcher, stage)
    grown = run(toy_root, make_config("grown", 7), launcher, stage)
    assert launcher.checkpoints == [[], ["step-00000004"]]
    assert f"Extending {stage} from step 4 to 7\n" in launcher.logs[1]
    assert f"Starting {stage} at step 4 of 7, from checkpoint step-00000004" in launcher.logs[1]
    long = run(toy_root, make_config("long", 7), launcher, stage)
    assert same_weights(grown, long)
    states = [
        read_checkpoint(local_copy(published.directory) / CHECKPOINT_FOLDER) for published in (grown, long)
    ]
    same(states[0].optimizers, states[1].optimizers)
    ranks = [[vars(rank) for rank in state.ranks] for state in states]
    same(ranks[0], ranks[1])
    lines = read_metrics(local_copy(grown.directory) / "metrics.jsonl")
    assert [line["step"] for line in lines if "losses" in line] == list(range(1, 8))
    # Fewer steps than were trained: training starts again.
    short = run(toy_root, make_config("long", 3), launcher, stage)
    assert short.manifest.counts["steps"] == 3


def test_training_with_another_batch_size_says_that_it_begins_anew(
    toy_root: UPath, launcher: Launcher
) -> None:
    """Once after a training that was interrupted, once after one that was published."""
    config = make_config("anew", 4)
    size = plan_module.plan_stage("perception", config).trainer.batch_size
    larger = config.replace(batch_size=size + 1)

    def interrupt(job: Path, processes: int) -> None:
        launcher(job, processes)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(toy_root, "perception", config, interrupt)
    run(toy_root, larger, launcher)
    why = f"at step 4 (setting trainer.batch_size: {size} -> {size + 1})"
    assert (
        f"perception of run anew begins anew: it cannot continue the training interrupted {why}"
        in (launcher.logs[1])
    )
    run(toy_root, larger.replace(batch_size=size + 2), launcher)
    why = f"at step 4 (setting trainer.batch_size: {size + 1} -> {size + 2})"
    assert f"it cannot continue the training published {why}" in launcher.logs[2]
    assert launcher.checkpoints == [[], [], []]


def test_run_stage_skips_up_to_date_unless_forced(toy_root: UPath, launcher: Launcher) -> None:
    first = run(toy_root, make_config("twice", 4), launcher)
    again = run(toy_root, make_config("twice", 4), launcher)
    assert (first.built, again.built) == (True, False)
    assert again.reason.startswith("nothing to do")
    forced = run(toy_root, make_config("twice", 4), launcher, force=True)
    assert forced.built
    assert same_weights(first, forced)
    run(toy_root, make_config("twice", 5), launcher, force=True)
    assert launcher.checkpoints == [[], [], []]
    assert not any("from checkpoint" in log for log in launcher.logs)


def test_reload_stage_rejects_damaged_files(toy_root: UPath, launcher: Launcher) -> None:
    with pytest.raises(ValueError, match="perception of run 'reloaded' is not trained yet: train it first"):
        reload_stage(toy_root, "perception", "reloaded")
    published = run(toy_root, make_config("reloaded", 2), launcher)
    reload_stage(toy_root, "perception", "reloaded")
    metrics = read_held_out_metrics(local_copy(published.directory))
    assert [metric.name for metric in metrics] == [
        "landmarks error",
        "pose error",
        "gaze error",
        "blink error",
    ]
    file = local_copy(published.directory) / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged, train it again: .*weights\.safetensors"):
        reload_stage(toy_root, "perception", "reloaded")
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged, train that stage again"):
        read_parents(toy_root, "stage1_motion", TrainingConfig(run="reloaded"))


def test_eye_axes_do_not_depend_on_resuming(
    toy_root: UPath, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage2_eye, "AXES_FRAMES", 13)
    run(toy_root, make_config("eyes", 4), launcher, "stage2_eye")
    grown = local_copy(run(toy_root, make_config("eyes", 5), launcher, "stage2_eye").directory)
    long = local_copy(run(toy_root, make_config("long-eyes", 5), launcher, "stage2_eye").directory)
    assert ["Fitted eye axes on 13 training frames" in log for log in launcher.logs] == [True] * 3
    assert (grown / "weights.safetensors").read_bytes() == (long / "weights.safetensors").read_bytes()
    reloaded = reload_stage(toy_root, "stage2_eye", "eyes")
    assert isinstance(reloaded, EyeStage)
    assert int(reloaded.axes.frames) == 13
    weights = read_weights(grown / "weights.safetensors").tensors
    saved = {name.removeprefix("eye_axes."): t for name, t in weights.items() if name.startswith("eye_axes.")}
    same(dict(reloaded.axes.state_dict()), saved)
    before = torch.load(grown / CHECKPOINT_FOLDER / "state.pt", weights_only=True)
    same(before, torch.load(long / CHECKPOINT_FOLDER / "state.pt", weights_only=True))


def test_eye_stage_without_axes_does_not_reload(
    toy_root: UPath, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage2_eye, "AXES_FRAMES", 2)
    folder = local_copy(run(toy_root, make_config("old-eyes", 1), launcher, "stage2_eye").directory)
    weights = read_weights(folder / "weights.safetensors").tensors
    write_weights(
        folder / "weights.safetensors",
        {name: tensor for name, tensor in weights.items() if not name.startswith("eye_axes.")},
    )
    monkeypatch.setattr(stage_run_module, "verify", lambda _: [])
    with pytest.raises(ValueError, match=r"eye_axes does not fit EyeAxes \(7 keys\): code_mean: missing"):
        reload_stage(toy_root, "stage2_eye", "old-eyes")


def test_reload_stage_uses_published_settings(
    toy_root: UPath, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(toy_root, make_config("older", 2), launcher)
    now = RUN_PRESETS["tiny_cpu"]
    perception = dataclasses.replace(now.network_preset.perception, landmark_count=5)
    networks = dataclasses.replace(now.network_preset, perception=perception)
    monkeypatch.setattr(type(now), "network_preset", networks)
    reload_stage(toy_root, "perception", "older")


def test_pretrained_weights_are_published_with_licence(
    toy_root: UPath, launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = catalog.PRETRAINED["vgg19"]
    file = tmp_path / "vgg19" / row.files[0].name
    file.parent.mkdir()
    narrow = VGG19Config(block_channels=(4, 4, 4, 4, 4))
    monkeypatch.setattr(plan_module, "VGG19_CHANNELS", narrow.block_channels)
    torch.save(VGG19Features(narrow).state_dict(), file)
    files = (dataclasses.replace(row.files[0], size_bytes=None, sha256=None),)
    monkeypatch.setitem(catalog.PRETRAINED, "vgg19", dataclasses.replace(row, files=files))
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    config = make_config("named", 2).replace(vgg19_weights="vgg19")
    with pytest.raises(ValueError, match="vgg19: the licence must be accepted once"):
        run(toy_root, config, launcher, "stage1_motion")
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "vgg19")
    published = run(toy_root, config, launcher, "stage1_motion")
    (used,) = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    assert (used["setting"], used["weights"]) == ("vgg19_weights", "vgg19")
    assert used["sha256"] == published.manifest.settings["vgg19_sha256"]
    assert used["licence"]["acceptance"]["licence"] == "BSD-3-Clause"
    by_path = config.replace(vgg19_weights=str(file))
    assert not run(toy_root, by_path, launcher, "stage1_motion").built


def test_run_stage_requires_a_checkpoint(toy_root: UPath) -> None:
    def do_nothing(*arguments: object) -> None:
        del arguments

    with pytest.raises(ValueError, match="perception: the job ended without a checkpoint"):
        run_stage(toy_root, "perception", make_config("empty", 2), do_nothing)
