"""Stages initialised with the authors' released weights, part by part."""

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
from tests.factories.models.weights import randomise
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import CONFIG, LOGGING, TOY_RUN, toy_parents
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS
from training.jobs.released_start import load_released
from training.jobs.stage_run import reload_stage, run_stage
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


def load(name: str, folder: Path) -> tuple[Stage[Any], tuple[str, ...]]:
    torch.manual_seed(0)
    stage = stage_class(name)(StageContext(TOY, toy_parents()), RUN.stage(name).settings)
    return stage, load_released(stage, folder, TOY)


def part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")
    }


def assert_same(network: nn.Module, expected: dict[str, Tensor]) -> None:
    state = network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in state.items())


def test_stage1_loads_encoders_and_appearance_columns_of_generator(
    tmp_path: Path, released: dict[str, dict[str, Tensor]]
) -> None:
    stage, loaded = load("stage1_motion", tmp_path)
    assert loaded == ("appearance", "motion.model", "generator")
    assert_same(stage.saved["appearance"], released["appearance"])
    assert_same(stage.saved["motion.model"], part(released["motion"], "model"))
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
def test_later_stages_load_their_own_parts(
    tmp_path: Path,
    released: dict[str, dict[str, Tensor]],
    name: str,
    sources: dict[str, tuple[str, str]],
) -> None:
    stage, loaded = load(name, tmp_path)
    assert set(loaded) - {"generator"} == set(sources)
    for own, (network, inner) in sources.items():
        assert_same(stage.saved[own], part(released[network], inner))
    if name == "stage3_expression":
        assert_same(stage.saved["generator"], released["generator"])


@pytest.mark.usefixtures("released")
def test_released_files_of_other_shapes_are_rejected(tmp_path: Path) -> None:
    torch.save({"model.conv1.weight": torch.zeros(1)}, tmp_path / "appearance_model.pth")
    with pytest.raises(ValueError, match=r"appearance_model\.pth .* does not fit AppearanceEncoder"):
        load("stage1_motion", tmp_path)


@pytest.mark.usefixtures("toy_presets", "released")
def test_run_from_released_weights_logs_and_publishes_them(
    toy_root: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    logging = LOGGING.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, logging=logging))

    def launch(job: Path, processes: int) -> None:
        assert processes == 1
        train(TrainingJob.read(job))

    config = CONFIG.replace(run="released", parents_run="toy", steps=1, start_from=str(tmp_path))
    published = run_stage(toy_root, "stage2_pose", config, launch)
    parts = "motion.to_headpose, motion.headpose_embed"
    assert f"Initialised stage2_pose with the released weights of {parts}" in caplog.messages
    rows = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    assert [row["setting"] for row in rows] == ["start_from"] * 4
    assert [row["sha256"] for row in rows] == published.manifest.settings["start_from_sha256"]
    reload_stage(toy_root, "stage2_pose", "released")
