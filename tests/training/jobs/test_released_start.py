"""What a stage takes over of the authors' released networks, part by part."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from upath import UPath

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.generator import Generator
from models.motion import MotionEncoder
from storage.root import local_copy
from tests.factories.stages import TOY
from tests.factories.toy_run import CADENCE, CONFIG, TOY_RUN, ListReporter, toy_parents
from tests.factories.weights import randomise
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.released_start import begin_as_released
from training.jobs.stage_run import check_reloads, run_stage
from training.jobs.worker import train
from training.runs.tiny_cpu import RUN
from training.stages.stage import Stage, StageContext, stage_class


@pytest.fixture
def released(tmp_path: Path) -> dict[str, dict[str, Tensor]]:
    """Files like the released ones, of toy size, and their tensors by network."""
    networks: dict[str, nn.Module] = {
        "appearance": AppearanceEncoder(TOY.appearance),
        "motion": MotionEncoder(TOY.motion),
        "audio": AudioEncoder(TOY.audio),
        "generator": Generator(TOY.generator),
    }
    for seed, (name, network) in enumerate(networks.items()):
        randomise(network, seed=50 + seed)
        torch.save(network.state_dict(), tmp_path / f"{name}_model.pth")
    return {name: network.state_dict() for name, network in networks.items()}


def begun(name: str, folder: Path) -> tuple[Stage[Any], tuple[str, ...]]:
    torch.manual_seed(0)
    stage = stage_class(name)(StageContext(TOY, toy_parents()), RUN.stage(name).settings)
    return stage, begin_as_released(stage, folder, TOY)


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")
    }


def same(network: nn.Module, wanted: dict[str, Tensor]) -> None:
    own = network.state_dict()
    assert own.keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in own.items())


def test_stage_1_takes_encoders_and_all_of_the_generator_but_what_reads_motion(
    tmp_path: Path, released: dict[str, dict[str, Tensor]]
) -> None:
    stage, taken = begun("stage1_motion", tmp_path)
    assert taken == ("appearance", "motion.model", "generator")
    same(stage.saved["appearance"], released["appearance"])
    same(stage.saved["motion.model"], part(released["motion"], "model"))
    width = TOY.style_widths.appearance
    for key, value in stage.saved["generator"].state_dict().items():
        given = released["generator"][key]
        if key.endswith("modulation.weight"):
            scale = math.sqrt(value.shape[1] / given.shape[1])
            torch.testing.assert_close(value[:, :width], given[:, :width] * scale)
        else:
            assert torch.equal(value, given)


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("stage2_lip", {"motion.to_mouth": ("motion", "to_mouth"), "audio.model": ("audio", "model")}),
        ("stage2_eye", {"motion.to_eye": ("motion", "to_eye"), "motion.eye_embed": ("motion", "eye_embed")}),
        (
            "stage2_pose",
            {
                "motion.to_headpose": ("motion", "to_headpose"),
                "motion.headpose_embed": ("motion", "headpose_embed"),
            },
        ),
        (
            "stage3_expression",
            {
                "motion.to_emo": ("motion", "to_emo"),
                "motion.emo_embed": ("motion", "emo_embed"),
                "lip_code": ("audio", "mouth_embed"),
            },
        ),
    ],
)
def test_later_stages_take_their_own_parts(
    tmp_path: Path,
    released: dict[str, dict[str, Tensor]],
    name: str,
    sources: dict[str, tuple[str, str]],
) -> None:
    stage, taken = begun(name, tmp_path)
    assert set(taken) - {"generator"} == set(sources)
    for own, (network, inner) in sources.items():
        same(stage.saved[own], part(released[network], inner))
    if name == "stage3_expression":
        same(stage.saved["generator"], released["generator"])


@pytest.mark.usefixtures("released")
def test_files_of_another_size_are_refused_and_nothing_is_taken_over(tmp_path: Path) -> None:
    torch.save({"model.conv1.weight": torch.zeros(1)}, tmp_path / "appearance_model.pth")
    with pytest.raises(ValueError, match=r"appearance_model\.pth .* does not fit AppearanceEncoder"):
        begun("stage1_motion", tmp_path)


@pytest.mark.usefixtures("toy_presets", "released")
def test_a_run_begins_so_says_so_and_publishes_whose_files_they_were(
    toy_root: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cadence = CADENCE.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, cadence=cadence))
    reporter = ListReporter()

    def launch(job: Path, processes: int) -> None:
        assert processes == 1
        train(TrainingJob.read(job), reporter)

    config = CONFIG.replace(run="begun", parents_run="toy", steps=1, start_from=str(tmp_path))
    published = run_stage(toy_root, "stage2_pose", config, launch, progress=reporter.note)
    said = "stage2_pose: begins as the released motion.to_headpose, motion.headpose_embed"
    assert said in reporter.lines
    told = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    assert [row["setting"] for row in told] == ["start_from"] * 4
    assert [row["sha256"] for row in told] == published.manifest.settings["start_from_sha256"]
    check_reloads(toy_root, "stage2_pose", "begun")
