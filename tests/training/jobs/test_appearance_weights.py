"""Stage 1's appearance encoder starts from torchvision's ResNeXt-50, where configured."""

import hashlib
from pathlib import Path

import pytest
import torch
from torchvision.models import resnext50_32x4d

from models.appearance import AppearanceConfig, AppearanceEncoder
from models.trunks.residual_trunk import ResidualTrunk
from tests.factories.models.weights import randomise
from tests.factories.training.stages import TOY
from tests.factories.training.toy_run import toy_parents
from training.engine.stage_weights import collect
from training.jobs.config import TrainingConfig
from training.jobs.plan import plan_stage
from training.jobs.recipe import stage_settings
from training.stage_catalog import STAGE_NAMES
from training.stages.stage import PretrainedFiles, StageContext
from training.stages.stage1_motion import MotionStage, MotionStageSettings, MotionWeights

NO_LOSSES = MotionWeights(phi=0, psi=0, vgg=0, adversarial=0, feature_matching=0)


def make_stage(file: Path | None) -> MotionStage:
    torch.manual_seed(0)
    context = StageContext(TOY, toy_parents(), PretrainedFiles(appearance=file))
    return MotionStage(context, MotionStageSettings(weights=NO_LOSSES))


def test_trunk_is_loaded_and_the_classifier_ignored(tmp_path: Path) -> None:
    trunk, file = ResidualTrunk(TOY.appearance.trunk), tmp_path / "resnext50.pth"
    randomise(trunk, seed=5)
    torch.save(trunk.state_dict() | {"fc.weight": torch.zeros(1000, 8), "fc.bias": torch.zeros(1000)}, file)
    plain, loaded = (collect(dict(make_stage(given).saved)) for given in (None, file))
    expected = collect({"appearance.model": trunk})
    for name, value in loaded.items():
        assert torch.equal(value, expected.get(name, plain[name])), name
    assert not torch.equal(plain["appearance.model.conv1.weight"], loaded["appearance.model.conv1.weight"])


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "resnext50.pth"
    torch.save({"conv1.weight": torch.zeros(4, 3, 7, 7), "layer9.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"fit ResidualTrunk: .* need resnext50_32x4d-7cdf4587\.pth"):
        make_stage(file)


def test_torchvision_has_the_official_trunk() -> None:
    with torch.device("meta"):
        theirs, ours = (
            resnext50_32x4d().state_dict(),
            AppearanceEncoder(AppearanceConfig()).model.state_dict(),
        )
    shapes = {name: value.shape for name, value in theirs.items() if not name.startswith("fc.")}
    assert shapes == {name: value.shape for name, value in ours.items()}


def test_only_stage1_of_official_presets_takes_them(tmp_path: Path) -> None:
    file = tmp_path / "resnext50.pth"
    file.write_bytes(b"of a network")
    config = TrainingConfig(preset="small_gpu", appearance_weights=str(file))
    assert plan_stage("stage1_motion", config).pretrained.appearance == file
    without = config.replace(appearance_weights="")
    changed = [name for name in STAGE_NAMES if stage_settings(name, config) != stage_settings(name, without)]
    assert changed == ["stage1_motion"]
    digest = hashlib.sha256(b"of a network").hexdigest()
    assert stage_settings("stage1_motion", config)["appearance_sha256"] == digest
    line = r"^appearance_weights need a preset .* ResNeXt-50 \(small_gpu, paper\), got tiny_cpu$"
    with pytest.raises(ValueError, match=line):
        plan_stage("stage1_motion", config.replace(preset="tiny_cpu"))
    for name in ("appearance_model.pth", "motion_model.pth", "audio_model.pth", "generator_model.pth"):
        (tmp_path / name).write_bytes(name.encode())
    with pytest.raises(ValueError, match=r"^appearance_weights and start_from both initialise"):
        plan_stage("stage1_motion", config.replace(start_from=str(tmp_path)))
