"""Networks of a run and of the release behind one interface."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evaluation.animation.eye_parts import OFFICIAL_EYE_PARTS
from evaluation.animation.loading import load_talking_head
from evaluation.animation.postprocessing import OFFICIAL_POSTPROCESSING, PostprocessingConfig
from models.motion import MotionEncoder
from models.official import load_official
from models.portrait_warp import Portrait
from models.presets import PRESETS, TINY
from models.style_vector import StyleVector
from storage.root import open_root
from tests.factories.evaluation.head_files import (
    publish_toy_run,
    stage3_parts,
    toy_code_scale,
    write_released_tiny,
)
from tests.factories.training.stages import TOY, TOY_SIDE_PX
from tests.factories.training.toy_run import TOY_RUN, parent_parts
from training.jobs.plan import RUN_PRESETS


def crops(count: int, side_px: int) -> list[NDArray[np.uint8]]:
    lot = np.random.default_rng(2)
    return [lot.integers(0, 256, (side_px, side_px, 3)).astype(np.uint8) for _ in range(count)]


@pytest.mark.usefixtures("toy_presets")
def test_run_codes_come_from_every_stage(tmp_path: Path) -> None:
    root = publish_toy_run(tmp_path / "root", "mine")
    head = load_talking_head("mine", root, "cpu")
    assert (head.name, head.side_px, head.expression_window_frames) == ("run 'mine'", TOY_SIDE_PX, 3)
    assert head.expression_window_from == "clip"
    assert head.postprocessing == PostprocessingConfig()
    parents, last = parent_parts(), stage3_parts(6)  # the averages
    motion = MotionEncoder(TOY.motion)
    for part, network in {
        **parents["stage1_motion"],
        **parents["stage2_eye"],
        **parents["stage2_pose"],
        **last,
    }.items():
        if part.startswith("motion."):
            motion.get_submodule(part.removeprefix("motion.")).load_state_dict(network.state_dict())
    pictures = crops(2, TOY_SIDE_PX)
    seen = head.motion(pictures)
    image = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1.0
    with torch.no_grad():
        expected = motion.eval()(image)
    for name in ("pose", "eye", "expression"):
        torch.testing.assert_close(getattr(seen, name), getattr(expected, name))
    mels = np.random.default_rng(1).random((2, 1, 80, 20), np.float32)
    audio = parents["stage2_lip"]["audio.model"].eval()
    with torch.no_grad():
        lip = last["lip_code"].eval()(audio(torch.from_numpy(mels)))
    torch.testing.assert_close(head.lip(mels), lip)


@pytest.mark.usefixtures("toy_presets")
def test_run_renders_with_scaled_codes(tmp_path: Path) -> None:
    root = publish_toy_run(tmp_path / "root", "mine")
    head = load_talking_head("mine", root, "cpu")
    who = head.appearance(crops(1, TOY_SIDE_PX)[0])
    source = torch.Generator().manual_seed(0)
    widths = TOY.style_widths
    lip, expression, eye, pose = (torch.randn(2, width, generator=source) for width in widths.as_tuple()[1:])
    made = head.render(StyleVector(who.code.expand(2, -1), lip, expression, eye, pose), who)
    scales = toy_code_scale().factors.tolist()
    scaled = [code * scale for code, scale in zip((lip, expression, eye, pose), scales, strict=True)]
    style = torch.cat([who.code.expand(2, -1), *scaled], dim=1)
    generator = stage3_parts(6)["generator"].eval()
    with torch.no_grad():
        expected = generator(style, who.map.expand(2, -1, -1, -1), noise="stored")
    assert np.abs(made.transpose(0, 3, 1, 2) - (expected.numpy() + 1) * 127.5).max() <= 0.51


def test_released_files_give_codes_and_pictures(tmp_path: Path) -> None:
    write_released_tiny(tmp_path / "released")
    root, side = open_root(str(tmp_path / "root")), TINY.image_side_px
    head = load_talking_head(str(tmp_path / "released"), root, "cpu", official_networks="tiny")
    plain = load_talking_head(
        str(tmp_path / "released"),
        root,
        "cpu",
        official_postprocessing=False,
        neutral="zero",
        official_networks="tiny",
    )
    assert head.postprocessing == OFFICIAL_POSTPROCESSING
    assert head.eye_parts is OFFICIAL_EYE_PARTS
    assert (plain.postprocessing, plain.expression_window_frames) == (PostprocessingConfig(neutral="zero"), 1)
    assert plain.expression_window_from == "consecutive"
    pictures = crops(3, side)
    gained, codes = head.motion(pictures), plain.motion(pictures)
    torch.testing.assert_close(gained.pose, codes.pose)
    torch.testing.assert_close(gained.eye, 1.2 * codes.eye)
    torch.testing.assert_close(gained.expression, 1.2 * codes.expression)
    mels = np.random.default_rng(1).random((3, 1, 80, 20), np.float32)
    torch.testing.assert_close(head.lip(mels), 1.5 * plain.lip(mels))
    who = plain.appearance(pictures[0])
    style = StyleVector(who.code.expand(3, -1), plain.lip(mels), codes.expression, codes.eye, codes.pose)
    made = plain.render(style, who)
    generator = load_official(tmp_path / "released", TINY).generator
    with torch.no_grad():
        portrait = Portrait(who.image.expand(3, -1, -1, -1), who.motion_feature.expand(3, -1))
        expected = generator(
            style.to_vector(),
            who.map.expand(3, -1, -1, -1),
            noise="stored",
            portrait=portrait,
        )
    assert made.shape == (3, side, side, 3)
    assert np.abs(made.transpose(0, 3, 1, 2) - (expected.numpy() + 1) * 127.5).max() <= 0.51


@pytest.mark.usefixtures("toy_presets")
def test_missing_checkpoints_are_one_line_errors(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"))
    with pytest.raises(ValueError, match=r"'mine' is neither a folder .*; runs that have: none"):
        load_talking_head("mine", root)
    publish_toy_run(tmp_path / "root", "other", averages=False)
    with pytest.raises(ValueError, match=r"under .*root; runs that have: other"):
        load_talking_head("mine", root)
    with pytest.raises(ValueError, match=r"nor a run that has trained"):
        load_talking_head(str(tmp_path / "nowhere"), root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no appearance_model\.pth in .*empty"):
        load_talking_head(str(tmp_path / "empty"), root)
    (weights,) = (tmp_path / "root").glob("assets/stage3_expression/other/*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"run 'other' is damaged .*train it again"):
        load_talking_head("other", root)


def test_run_is_loaded_with_its_published_settings(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RUN_PRESETS, "tiny_cpu", TOY_RUN)
        patch.setitem(PRESETS, "tiny", TOY)
        root = publish_toy_run(tmp_path / "root", "mine")
    head = load_talking_head("mine", root, "cpu")
    assert (head.side_px, head.expression_window_frames) == (TOY_SIDE_PX, 3)


@pytest.mark.usefixtures("toy_presets")
def test_run_without_an_earlier_stage_names_it(tmp_path: Path) -> None:
    root = publish_toy_run(tmp_path / "root", "mine")
    (tmp_path / "root" / "assets" / "stage2_eye" / "mine" / "current.json").unlink()
    with pytest.raises(ValueError, match="starts from stage2_eye, which run 'mine' has not trained yet"):
        load_talking_head("mine", root)
