"""Pretrained weights of a training configuration: which stages use them, what is published, errors."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from upath import UPath

from storage.fingerprint import file_sha256
from storage.root import local_copy, open_root
from tests.factories.training.data import make_data_set
from tests.factories.training.toy_run import CONFIG, LOGGING, TOY_RUN
from tests.training.stages.pictures.test_perceptual_networks import toy_emonet, toy_l2cs, toy_reconstruction
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.plan import RUN_PRESETS, plan_stage, require_named_weights
from training.jobs.recipe import stage_settings
from training.jobs.stage_run import reload_stage, run_stage
from training.jobs.worker import train
from training.stage_catalog import STAGE_NAMES, stage_info
from training.stages.codes.code_scale import UNSCALED, CodeShares
from training.stages.pictures import perceptual_networks
from weights.resolve import resolve_config, resolve_files

WITHOUT_WEIGHTS = {"networks", "stage", "trainer", "processes"}
"""Settings of a recipe without pretrained weights."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"of a network")
    return file


def stale(setting: str, value: str) -> list[str]:
    """Stages whose recipe a setting changes."""
    config = TrainingConfig().replace(**{setting: value})
    return [
        stage
        for stage in STAGE_NAMES
        if stage_settings(stage, config) != stage_settings(stage, TrainingConfig())
    ]


def test_weights_change_the_recipes_of_stages_that_use_them(file: Path) -> None:
    assert stale("vgg19_weights", str(file)) == ["stage1_motion", "stage3_expression"]
    assert stale("deep3d_weights", str(file)) == ["stage1_motion", "stage3_expression"]
    assert stale("emonet_weights", str(file)) == ["stage1_motion", "stage3_expression"]
    assert stale("l2cs_weights", str(file)) == ["stage3_expression"]
    config = TrainingConfig(l2cs_weights=str(file))
    settings = stage_settings("stage3_expression", config)
    assert settings["l2cs_sha256"] == hashlib.sha256(b"of a network").hexdigest()
    assert plan_stage("stage3_expression", config).pretrained.l2cs == file
    assert plan_stage("stage1_motion", config).pretrained.l2cs is None


def test_pretrained_vgg19_has_its_own_widths(file: Path) -> None:
    def widths(config: TrainingConfig) -> tuple[int, ...]:
        return plan_stage("stage1_motion", config).networks.vgg19.block_channels

    tiny = TrainingConfig(preset="tiny_cpu")
    assert widths(tiny) == (16, 32, 48, 64, 64)
    assert widths(tiny.replace(vgg19_weights=str(file))) == (64, 128, 256, 512, 512)


@pytest.mark.parametrize("preset", ["small_gpu", "paper"])
def test_large_presets_train_on_random_filters_only_by_name(
    preset: Literal["small_gpu", "paper"], tmp_path: Path
) -> None:
    config = TrainingConfig(preset=preset, device="cpu")
    line = (
        rf"^preset {preset} needs vgg19-dcbb9e9d\.pth: run `pdfgc weights fetch vgg19` and set vgg19_weights "
        r"to vgg19, or to random to train without it$"
    )
    with pytest.raises(ValueError, match=line):
        require_named_weights(config)
    root = open_root(str(make_data_set(tmp_path)))
    with pytest.raises(ValueError, match=line):
        train(TrainingJob(root=str(root), stage="stage1_motion", config=config, work=tmp_path / "work"))
    require_named_weights(config.replace(vgg19_weights="vgg19"))
    require_named_weights(TrainingConfig(preset="tiny_cpu"))
    named = config.replace(vgg19_weights="random")
    require_named_weights(named)
    plan = plan_stage("stage1_motion", named)
    assert (plan.weights, plan.pretrained.vgg19) == ((), None)
    assert stage_settings("stage1_motion", named) == stage_settings("stage1_motion", config)


def test_recipe_without_weights_names_none() -> None:
    for stage in STAGE_NAMES:
        assert set(stage_settings(stage, TrainingConfig())) == WITHOUT_WEIGHTS


def test_job_without_settings_takes_defaults(tmp_path: Path) -> None:
    job = TrainingJob(root="root", stage="stage1_motion", config=TrainingConfig(run="old"), work=tmp_path)
    job.write(tmp_path / "job.json")
    values: dict[str, Any] = json.loads((tmp_path / "job.json").read_text())
    for name in ("deep3d_weights", "emonet_weights", "l2cs_weights", "start_from"):
        assert values["config"].pop(name) == ""
    (tmp_path / "job.json").write_text(json.dumps(values))
    assert TrainingJob.read(tmp_path / "job.json").config == TrainingConfig(run="old")


def test_job_with_unknown_settings_is_rejected(tmp_path: Path) -> None:
    job = TrainingJob(root=str(tmp_path), stage="stage2_pose", config=TrainingConfig(), work=tmp_path)
    job.write(tmp_path / "job.json")
    values = json.loads((tmp_path / "job.json").read_text("utf-8"))
    values["config"]["warp"] = 9
    (tmp_path / "job.json").write_text(json.dumps(values), "utf-8")
    with pytest.raises(
        ValueError, match=r"job\.json was written by another version of pdfgc: config\.warp is not"
    ):
        TrainingJob.read(tmp_path / "job.json")


def test_missing_weights_are_reported_before_the_first_stage(file: Path) -> None:
    resolve_config(TrainingConfig(l2cs_weights=str(file)))
    wrong = TrainingConfig(l2cs_weights="gaze.pkl")
    assert resolve_config(wrong, stage_info("perception").pretrained) == ()
    with pytest.raises(FileNotFoundError, match=r"^l2cs_weights: no file gaze\.pkl, .* takes l2cs_gaze360$"):
        resolve_config(wrong)
    with pytest.raises(ValueError, match=r"^emonet_weights does not take vgg19; .* emonet_8, emonet_5$"):
        resolve_config(TrainingConfig(emonet_weights="vgg19"))


@pytest.mark.usefixtures("toy_presets")
def test_run_with_weights_is_published_extended_and_reloaded(
    toy_root: UPath, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    logging = LOGGING.replace(workers=0, held_out_every_steps=0)
    monkeypatch.setitem(RUN_PRESETS, "tiny_cpu", dataclasses.replace(TOY_RUN, logging=logging))
    monkeypatch.setattr(perceptual_networks, "load_face_reconstruction", toy_reconstruction)
    monkeypatch.setattr(perceptual_networks, "load_emonet", toy_emonet)
    monkeypatch.setattr(perceptual_networks, "load_l2cs", toy_l2cs)

    def launch(job: Path, processes: int) -> None:
        assert processes == 1
        train(TrainingJob.read(job))

    config = CONFIG.replace(
        run="pretrained",
        parents_run="toy",
        steps=1,
        deep3d_weights=str(file),
        emonet_weights=str(file),
        l2cs_weights=str(file),
    )
    run_stage(toy_root, "stage1_motion", config, launch)
    longer = config.replace(steps=2)
    published = run_stage(toy_root, "stage1_motion", longer, launch)
    assert "Starting stage1_motion at step 1 of " in caplog.text
    digest = file_sha256(file)
    settings = published.manifest.settings
    assert {name: settings[name] for name in settings if name not in WITHOUT_WEIGHTS} == {
        "deep3d_sha256": digest,
        "emonet_sha256": digest,
    }
    rows = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    assert [(row["setting"], row["sha256"]) for row in rows] == [
        ("deep3d_weights", digest),
        ("emonet_weights", digest),
    ]
    reload_stage(toy_root, "stage1_motion", "pretrained")
    # l2cs_weights is not part of stage 1's recipe.
    without = longer.replace(l2cs_weights="")
    assert not run_stage(toy_root, "stage1_motion", without, launch).built


def test_released_files_have_two_names(tmp_path: Path) -> None:
    assert resolve_files("", "start_from") == ()
    for name in ("appearance_model.pth", "motion_mode.pth", "audio_model.pth"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(FileNotFoundError, match=r"^start_from: no generator_model\.pth in .* it takes pdfgc"):
        resolve_files(str(tmp_path), "start_from")
    (tmp_path / "generator_model.pth").write_bytes(b"generator")
    assert stale("start_from", str(tmp_path)) == list(STAGE_NAMES[1:])
    config = TrainingConfig(start_from=str(tmp_path))
    settings = stage_settings("stage2_eye", config)
    assert settings["start_from_sha256"][1] == hashlib.sha256(b"motion_mode.pth").hexdigest()
    assert plan_stage("stage2_eye", config).released_folder == tmp_path
    # The released generator reads codes as they are.
    assert plan_stage("stage3_expression", config).settings.code_shares == UNSCALED
    assert plan_stage("stage3_expression", TrainingConfig()).settings.code_shares == CodeShares()
    (tmp_path / "motion_mode.pth").rename(tmp_path / "motion_model.pth")
    assert stage_settings("stage2_eye", config) == settings
    with pytest.raises(ValueError, match=r"^start_from does not take vgg19; it takes pdfgc_official$"):
        resolve_files("vgg19", "start_from")
