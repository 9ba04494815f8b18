"""A stage of a run from the config to what is published, its job run in this process."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from upath import UPath

from models.external.vgg19 import PerceptualConfig, PerceptualFeatures
from storage.publishing import Published
from storage.root import local_copy
from tests.factories.toy_run import CADENCE, CONFIG, TOY_RUN, ListReporter, same
from training.engine.checkpoint import CHECKPOINTS_FOLDER, read_checkpoint
from training.engine.metrics_log import read_metrics
from training.engine.stage_weights import read_weights, write_weights
from training.jobs import plan as run_preset
from training.jobs import reload
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.reload import reload_stage
from training.jobs.stage_run import CHECKPOINT_FOLDER, check_reloads, read_figures, run_stage
from training.jobs.worker import read_parents, train
from training.stages import stage2_eye
from training.stages.stage2_eye import EyeStage
from weights import catalog as pretrained

pytestmark = pytest.mark.usefixtures("toy_presets")


class Launcher:
    """Runs jobs here, and keeps what they told and found."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.found: list[list[str]] = []

    def __call__(self, job: Path, processes: int) -> None:
        assert processes == 1
        checkpoints = job.parent / CHECKPOINTS_FOLDER
        self.found.append([path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else [])
        reporter = ListReporter()
        train(TrainingJob.read(job), reporter)
        self.told.append("\n".join(reporter.lines))


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Launcher:
    cadence = CADENCE.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, cadence=cadence))
    return Launcher()


def chosen(run: str, steps: int) -> TrainingConfig:
    return CONFIG.replace(run=run, steps=steps, parents_run="toy")


def made(
    root: UPath, config: TrainingConfig, launcher: Launcher, stage: str = "perception", *, force: bool = False
) -> Published:
    return run_stage(root, stage, config, launcher, force=force, progress=launcher.told.append)


def same_weights(one: Published, other: Published) -> bool:
    names = ("weights.safetensors", "averages.safetensors")
    return all((one.directory / name).read_bytes() == (other.directory / name).read_bytes() for name in names)


@pytest.mark.parametrize("stage", ["perception", "stage3_expression"])
def test_more_steps_go_on_and_end_as_one_long_run(toy_root: UPath, launcher: Launcher, stage: str) -> None:
    made(toy_root, chosen("grown", 4), launcher, stage)
    grown = made(toy_root, chosen("grown", 7), launcher, stage)
    assert launcher.found == [[], ["step-00000004"]]
    assert launcher.told[1] == f"{stage}: 4 steps were trained before, 7 are wanted: going on"
    assert f"{stage}: resumed at step 4" in launcher.told[2]
    long = made(toy_root, chosen("long", 7), launcher, stage)
    assert same_weights(grown, long)
    states = [read_checkpoint(local_copy(one.directory) / CHECKPOINT_FOLDER) for one in (grown, long)]
    same(states[0].optimisers, states[1].optimisers)
    ranks = [[vars(rank) for rank in state.ranks] for state in states]
    same(ranks[0], ranks[1])
    told = read_metrics(local_copy(grown.directory) / "metrics.jsonl")
    assert [line["step"] for line in told if "losses" in line] == list(range(1, 8))
    # Fewer steps than were trained are another run's: it starts anew.
    short = made(toy_root, chosen("long", 3), launcher, stage)
    assert short.manifest.counts["steps"] == 3


def test_what_is_up_to_date_is_left_alone_and_force_trains_anew(toy_root: UPath, launcher: Launcher) -> None:
    first = made(toy_root, chosen("twice", 4), launcher)
    again = made(toy_root, chosen("twice", 4), launcher)
    assert (first.built, again.built) == (True, False)
    assert again.reason.startswith("nothing to do")
    forced = made(toy_root, chosen("twice", 4), launcher, force=True)
    assert forced.built
    assert same_weights(first, forced)
    made(toy_root, chosen("twice", 5), launcher, force=True)
    assert launcher.found == [[], [], []]
    assert not any("resumed" in told for told in launcher.told)


def test_what_is_published_reloads_until_it_is_damaged(toy_root: UPath, launcher: Launcher) -> None:
    with pytest.raises(ValueError, match="perception of run 'reloaded' is not trained yet: train it first"):
        check_reloads(toy_root, "perception", "reloaded")
    published = made(toy_root, chosen("reloaded", 2), launcher)
    check_reloads(toy_root, "perception", "reloaded")
    assert [figure["name"] for figure in read_figures(toy_root, "perception", "reloaded")] == [
        "landmarks error",
        "pose error",
        "gaze error",
        "blink error",
    ]
    assert read_figures(toy_root, "perception", "never") == []
    file = local_copy(published.directory) / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"is damaged, train it again: .*weights\.safetensors"):
        check_reloads(toy_root, "perception", "reloaded")
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged, train that stage again"):
        read_parents(toy_root, "stage1_motion", TrainingConfig(run="reloaded"))


def test_the_eye_stage_ends_by_measuring_its_code_however_often_it_was_resumed(
    toy_root: UPath, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage2_eye, "AXES_FRAMES", 13)
    made(toy_root, chosen("eyes", 4), launcher, "stage2_eye")
    grown = local_copy(made(toy_root, chosen("eyes", 5), launcher, "stage2_eye").directory)
    long = local_copy(made(toy_root, chosen("long-eyes", 5), launcher, "stage2_eye").directory)
    assert [told.count("eye code of 13 training frames") for told in launcher.told] == [1, 0, 1, 1]
    assert (grown / "weights.safetensors").read_bytes() == (long / "weights.safetensors").read_bytes()
    reloaded = reload_stage(toy_root, "stage2_eye", "eyes")
    assert isinstance(reloaded, EyeStage)
    assert int(reloaded.axes.frames) == 13
    weights = read_weights(grown / "weights.safetensors").tensors
    left = {name.removeprefix("eye_axes."): t for name, t in weights.items() if name.startswith("eye_axes.")}
    same(dict(reloaded.axes.state_dict()), left)
    before = torch.load(grown / CHECKPOINT_FOLDER / "state.pt", weights_only=True)
    same(before, torch.load(long / CHECKPOINT_FOLDER / "state.pt", weights_only=True))


def test_an_eye_stage_without_what_it_measured_does_not_reload(
    toy_root: UPath, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage2_eye, "AXES_FRAMES", 2)
    folder = local_copy(made(toy_root, chosen("old-eyes", 1), launcher, "stage2_eye").directory)
    weights = read_weights(folder / "weights.safetensors").tensors
    write_weights(
        folder / "weights.safetensors",
        {name: tensor for name, tensor in weights.items() if not name.startswith("eye_axes.")},
    )
    monkeypatch.setattr(reload, "verify", lambda _: [])
    with pytest.raises(ValueError, match=r"eye_axes does not fit EyeAxes \(7 keys\): code_mean: missing"):
        check_reloads(toy_root, "stage2_eye", "old-eyes")


def test_a_run_reloads_as_it_was_trained_whatever_its_preset_says_by_now(
    toy_root: UPath, launcher: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(toy_root, chosen("older", 2), launcher)
    now = RUN_PRESETS["tiny_cpu"]
    perception = dataclasses.replace(now.network_preset.perception, landmark_count=5)
    networks = dataclasses.replace(now.network_preset, perception=perception)
    monkeypatch.setattr(type(now), "network_preset", networks)
    check_reloads(toy_root, "perception", "older")


def test_whose_weights_took_part_is_published_by_name_and_terms(
    toy_root: UPath, launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = pretrained.PRETRAINED["vgg19"]
    file = tmp_path / "vgg19" / row.files[0].name
    file.parent.mkdir()
    narrow = PerceptualConfig(block_channels=(4, 4, 4, 4, 4))
    monkeypatch.setattr(run_preset, "VGG19_CHANNELS", narrow.block_channels)
    torch.save(PerceptualFeatures(narrow).state_dict(), file)
    files = (dataclasses.replace(row.files[0], size_bytes=None, sha256=None),)
    monkeypatch.setitem(pretrained.PRETRAINED, "vgg19", dataclasses.replace(row, files=files))
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    config = chosen("named", 2).replace(vgg19_weights="vgg19")
    with pytest.raises(ValueError, match="vgg19: its licence must be accepted by name once"):
        made(toy_root, config, launcher, "stage1_motion")
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "vgg19")
    published = made(toy_root, config, launcher, "stage1_motion")
    (told,) = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    assert (told["setting"], told["weights"]) == ("vgg19_weights", "vgg19")
    assert told["sha256"] == published.manifest.settings["vgg19_sha256"]
    assert told["licence"]["acceptance"]["licence"] == "BSD-3-Clause"
    by_path = config.replace(vgg19_weights=str(file))
    assert not made(toy_root, by_path, launcher, "stage1_motion").built


def test_a_job_that_ends_without_a_checkpoint_is_an_error(toy_root: UPath) -> None:
    def do_nothing(*told: object) -> None:
        del told

    with pytest.raises(ValueError, match="perception: the job ended without a checkpoint"):
        run_stage(
            toy_root,
            "perception",
            chosen("empty", 2),
            do_nothing,
            progress=do_nothing,
        )
