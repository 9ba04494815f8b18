"""Stages that start from an exported model, made by a real export of a toy run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from upath import UPath

from evaluation.animation.exported_model import export_run
from models.presets import SMALL_MESH, NetworkPreset
from storage.root import local_copy
from tests.factories.evaluation.head_files import fitted_axes, publish_toy_run
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import CONFIG, LOGGING, TOY_RUN, toy_parents
from training.engine.stage_weights import read_weights
from training.jobs import exported_start
from training.jobs.exported_start import load_exported, require_same_networks
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS, plan_stage, training_weights
from training.jobs.recipe import stage_settings
from training.jobs.stage_run import reload_stage, run_stage
from training.jobs.worker import train
from training.stages.codes.code_scale import CODE_SCALE_PART
from training.stages.stage import Stage, StageContext, stage_class


@pytest.fixture
def exported(tmp_path: Path, toy_presets: None) -> Path:  # noqa: ARG001  (the networks of the run)
    """A model exported from a published toy run."""
    root = publish_toy_run(tmp_path / "root", "mine", eye_axes=fitted_axes())
    export_run(root, "mine", tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def load(name: str, file: Path) -> tuple[Stage[Any], tuple[str, ...]]:
    torch.manual_seed(0)
    stage = stage_class(name)(StageContext(TOY, toy_parents()), TOY_RUN.stage(name).settings)
    return stage, load_exported(stage, file, TOY)


def assert_holds(network: nn.Module, file: Path, part: str) -> None:
    tensors = read_weights(file).tensors
    expected: dict[str, Tensor] = {
        key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")
    }
    state = network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[key].to(value.dtype)) for key, value in state.items())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("stage2_lip", ("motion.to_mouth", "audio.model")),
        ("stage2_eye", ("motion.to_eye", "motion.eye_embed")),
        ("stage2_pose", ("motion.to_headpose", "motion.headpose_embed")),
        (
            "stage3_expression",
            ("motion.to_emo", "motion.emo_embed", "lip_code", "generator", CODE_SCALE_PART),
        ),
    ],
)
def test_later_stages_take_their_own_parts(exported: Path, name: str, parts: tuple[str, ...]) -> None:
    stage, loaded = load(name, exported)
    assert loaded == parts
    for part in parts:
        assert_holds(stage.saved[part], exported, part)


def test_perception_takes_the_trunk_and_stage1_keeps_perceptions(exported: Path) -> None:
    perception, loaded = load("perception", exported)
    assert loaded == ("perception",)
    assert_holds(perception.saved["perception"].get_submodule("trunk"), exported, "motion.model")
    first, loaded = load("stage1_motion", exported)
    assert loaded == ("appearance", "generator")
    assert_holds(first.saved["appearance"], exported, "appearance")


def test_other_networks_are_refused_in_one_line(exported: Path, tmp_path: Path) -> None:
    require_same_networks(exported, TOY, "toy")
    wider: NetworkPreset = dataclasses.replace(TOY, audio=dataclasses.replace(TOY.audio, attention_width=3))
    with pytest.raises(
        ValueError, match=r"start_from: audio of .*mine\.safetensors .* differ in size"
    ) as error:
        require_same_networks(exported, wider, "toy")
    assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="start_from: no file"):
        require_same_networks(tmp_path / "none.safetensors", TOY, "toy")
    (tmp_path / "text.safetensors").write_text("not a model")
    with pytest.raises(ValueError, match="no exported model"):
        require_same_networks(tmp_path / "text.safetensors", TOY, "toy")


def test_side_that_a_mesh_trunk_reads_is_no_size() -> None:
    for side_px in (96, 224):
        trunk = dataclasses.replace(SMALL_MESH.motion.trunk, image_side_px=side_px)
        networks = dataclasses.replace(SMALL_MESH, motion=dataclasses.replace(SMALL_MESH.motion, trunk=trunk))
        require_same_networks(exported_start.STARTER_FILE, networks, "starter")


def test_starter_model_fits_its_preset_and_no_other() -> None:
    config = CONFIG.replace(preset="starter", start_from="starter")
    (file,) = training_weights(config)
    assert (file.setting, file.path) == ("start_from", exported_start.STARTER_FILE)
    plan = plan_stage("stage3_expression", config)
    assert plan.exported_file == exported_start.STARTER_FILE
    assert plan.released_folder is None
    assert not plan.settings.measure_codes  # its factors are part of the file
    assert stage_settings("perception", config)["start_from_sha256"] == [file.sha256]
    assert "start_from_sha256" not in stage_settings("perception", config.replace(start_from=""))
    with pytest.raises(ValueError, match=r"\(96 px\) differ in size from preset tiny_cpu's \(64 px\)"):
        training_weights(config.replace(preset="tiny_cpu"))


def test_run_records_what_it_started_from(
    toy_root: UPath,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    logging = LOGGING.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, logging=logging))

    def launch(job: Path, processes: int) -> None:
        assert processes == 1
        train(TrainingJob.read(job))

    config = CONFIG.replace(run="continued", parents_run="toy", steps=1, start_from=str(exported))
    published = run_stage(toy_root, "stage2_pose", config, launch)
    parts = "motion.to_headpose, motion.headpose_embed"
    assert f"Initialised {parts} of stage2_pose with {exported}" in caplog.messages
    (row,) = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    assert row["setting"] == "start_from"
    assert [row["sha256"]] == published.manifest.settings["start_from_sha256"]
    reload_stage(toy_root, "stage2_pose", "continued")
