"""A run as one file: the same pictures, and the starter model wherever no run is named."""

import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from upath import UPath

from evaluation.animation import checkpoint_abilities
from evaluation.animation.checkpoint_abilities import (
    exported_facts,
    find_checkpoint,
    resolve_checkpoint,
    separates_gaze_from_blinks,
)
from evaluation.animation.exported_model import export_run
from evaluation.animation.loading import load_talking_head
from evaluation.animation.talking_head import TalkingHead
from models.style_vector import StyleVector
from storage.root import local_copy
from tests.factories.evaluation.head_files import fitted_axes, publish_toy_run
from tests.factories.training.stages import TOY_SIDE_PX
from training.engine.checkpoint import EMA_NAME
from training.engine.stage_weights import read_weights
from training.jobs.config import TrainingConfig


@pytest.fixture
def root(tmp_path: Path, toy_presets: None) -> UPath:  # noqa: ARG001  (the networks of the run)
    return publish_toy_run(tmp_path / "root", "mine", eye_axes=fitted_axes())


@pytest.fixture
def starter(tmp_path: Path, root: UPath) -> Generator[Path]:
    file = tmp_path / "starter" / "starter.safetensors"
    export_run(root, "mine", file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_abilities, "STARTER_FILE", file)
        yield file


def rendered(head: TalkingHead) -> NDArray[np.uint8]:
    rng = np.random.default_rng(2)
    crops = [rng.integers(0, 256, (TOY_SIDE_PX, TOY_SIDE_PX, 3)).astype(np.uint8) for _ in range(3)]
    appearance, motion = head.appearance(crops[0]), head.motion(crops)
    lip = head.lip(rng.random((3, 1, 80, 20), np.float32))
    code = appearance.code.expand(3, -1)
    return head.render(StyleVector(code, lip, motion.expression, motion.eye, motion.pose), appearance)


def test_exported_model_renders_the_runs_pictures(root: UPath, starter: Path) -> None:
    run, exported = (load_talking_head(name, root, "cpu") for name in ("mine", str(starter)))
    a, b = rendered(run).astype(int), rendered(exported).astype(int)
    assert np.abs(a - b).max() <= 1  # float16 rounding
    assert a.std() > 5
    assert exported.expression_window_frames == run.expression_window_frames == 3
    assert run.eye_parts is not None
    assert exported.eye_parts is not None
    assert torch.equal(run.eye_parts.gaze, exported.eye_parts.gaze)


def test_run_with_float16_weights_and_its_export_are_bit_identical(root: UPath, tmp_path: Path) -> None:
    for file in (tmp_path / "root").glob("assets/stage*/mine/*/*.safetensors"):
        tensors = load_file(file)
        save_file(
            {
                name: value if name.startswith("eye_axes") else _rounded(value)
                for name, value in tensors.items()
            },
            file,
        )
    file = tmp_path / "mine.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        _trust_changed_files(patch)
        export_run(root, "mine", file)
        run = load_talking_head("mine", root, "cpu")
    assert np.array_equal(rendered(run), rendered(load_talking_head(str(file), root, "cpu")))


def _rounded(value: torch.Tensor) -> torch.Tensor:
    return value.half().float() if value.is_floating_point() else value


def _trust_changed_files(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("evaluation.animation.run_weights.verify", lambda _: [])
    patch.setattr("evaluation.animation.run_weights.verified_copy", local_copy)
    patch.setattr(
        "training.jobs.worker._read_verified", lambda build, file: read_weights(Path(build.directory / file))
    )


def test_export_is_deterministic_and_half_the_size(root: UPath, starter: Path, tmp_path: Path) -> None:
    export_run(root, "mine", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == starter.read_bytes()
    tensors = load_file(starter)
    full = ("eye_axes.", "code_scale.")
    networks = [value for name, value in tensors.items() if not name.startswith(full)]
    assert tensors["code_scale.factors"].tolist() == [2.0, 0.5, 4.0, 3.0]
    assert {value.dtype for value in networks if value.is_floating_point()} == {torch.float16}
    assert not any(name.startswith(("discriminator", "perception")) for name in tensors)
    (average,) = (tmp_path / "root").glob(f"assets/stage3_expression/mine/*/{EMA_NAME}")
    name = next(name for name in tensors if name.startswith("lip_code."))
    assert torch.equal(tensors[name], load_file(average)[name].half())
    assert exported_facts(starter)["run"] == "mine"


def test_no_named_checkpoint_means_run_default_then_the_starter(
    root: UPath, starter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert load_talking_head("", root, "cpu").name == "the starter model"
    assert f"using the starter model (weights/starter, {TOY_SIDE_PX} px)" in caplog.messages
    assert load_talking_head("starter", root, "cpu").name == "the starter model"
    assert separates_gaze_from_blinks(root, "starter")
    publish_toy_run(tmp_path / "root", "default")
    assert resolve_checkpoint(root, "") == "default"
    assert starter.is_file()


def test_missing_and_unfit_exports_are_one_line_errors(root: UPath, starter: Path, tmp_path: Path) -> None:
    starter.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"runs that are: mine\), and the starter model is missing: no file"
    ):
        load_talking_head("", root)
    with pytest.raises(FileNotFoundError, match=r"^the starter model is missing: no file"):
        load_talking_head("starter", root)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors is not an exported model"):
        load_talking_head(str(tmp_path / "other.safetensors"), root)
    with pytest.raises(ValueError, match=r"mine\.pth: exported models must end in \.safetensors"):
        export_run(root, "mine", tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="run must not be 'starter', the name of the starter model"):
        TrainingConfig(run="starter")


def test_header_that_describes_more_than_the_file_holds_is_refused(root: UPath, starter: Path) -> None:
    with safe_open(starter, framework="np") as opened:
        facts = json.loads(opened.metadata()["pdfgc"])
    facts["networks"]["generator"]["channels"][1] = 60_000
    save_file(load_file(starter), starter, {"pdfgc": json.dumps(facts)})
    with pytest.raises(ValueError, match=r"its header describes networks of [\d,]+ weights, it holds"):
        load_talking_head("starter", root)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "lacks format, networks, run"),
        ({"side_px": 10**9}, "a size of its networks is above 65536 or no number"),
        ({"side_px": "96"}, "a size of its networks is above 65536 or no number"),
        ({"networks": {"channels": [10**9]}}, "a size of its networks is above 65536"),
        ({"networks": {"channels": [1] * 300}}, "a size of its networks is above 65536"),
    ],
)
def test_hostile_header_is_refused(tmp_path: Path, text: str | dict[str, Any], message: str) -> None:
    facts = dict.fromkeys(("format", "run", "networks", "windows", "weights"), 1) | {"side_px": 96}
    header = text if isinstance(text, str) else json.dumps(facts | text)
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, file, {"pdfgc": header})
    with pytest.raises(ValueError, match=message):
        exported_facts(file)
    assert not find_checkpoint(UPath(tmp_path), str(file))
