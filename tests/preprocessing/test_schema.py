"""Each check of the contract fires, and names the values."""

from dataclasses import replace

import numpy as np
import pytest

from preprocessing.schema import check_array
from tests.factories.preprocessing.clips import random_clip, random_sample


def test_valid_clip_and_sample_are_built() -> None:
    assert random_clip(frames=64).frame_count == 64
    assert random_sample(frames=1, anchors=0).mel.shape == (20, 80)


@pytest.mark.parametrize("key", ["", "a.b", "A", "a/b", "a b", "ä"])
def test_clip_refuses_keys_with_dots_and_spaces(key: str) -> None:
    with pytest.raises(ValueError, match="clip key"):
        replace(random_clip(), key=key)


def test_clip_has_1_to_64_frames() -> None:
    with pytest.raises(ValueError, match="65 frames, need 1 to 64"):
        random_clip(frames=65)
    with pytest.raises(ValueError, match="0 frames, need 1 to 64"):
        random_clip(frames=0)


def test_clip_refuses_mismatched_lengths() -> None:
    clip = random_clip(frames=3)
    with pytest.raises(ValueError, match=r"landmarks_px is float32\[2, 478, 3\], need float32\[3, 478, 3\]"):
        replace(clip, landmarks_px=clip.landmarks_px[:2])
    with pytest.raises(ValueError, match=r"sound is float32\[1919\], need float32\[1920\]"):
        replace(clip, sound=clip.sound[:-1])
    short = replace(clip.source, crop_transforms=clip.source.crop_transforms[:2])
    with pytest.raises(ValueError, match=r"crop_transforms is float32\[2, 2, 3\]"):
        replace(clip, source=short)


def test_clip_refuses_loud_sound_and_infinite_scores() -> None:
    clip = random_clip()
    with pytest.raises(ValueError, match=r"sound must be within \+-1\.0, got 1\.5"):
        replace(clip, sound=np.full_like(clip.sound, 1.5))
    with pytest.raises(ValueError, match="score sharpness must be finite, got nan"):
        replace(clip, scores={"sharpness": float("nan")})


def test_source_refuses_negative_frames() -> None:
    with pytest.raises(ValueError, match="track and first frame must be >= 0, got 0, -1"):
        replace(random_clip().source, first_frame=-1)


def test_labels_refuse_values_out_of_range() -> None:
    labels = random_sample().labels
    with pytest.raises(ValueError, match=r"pose angles must be within .* got 4\.0"):
        replace(labels, pose=np.full_like(labels.pose, 4.0))
    assert replace(labels, pose=np.array([[0, 0, 0, 9, -9, 99.0]] * 3, np.float32)).pose[0, 5] == 99.0  # cm
    with pytest.raises(ValueError, match=r"gaze must be within .* got 1\.6"):
        replace(labels, gaze=np.full_like(labels.gaze, 1.6))
    with pytest.raises(ValueError, match=r"blink must be 0 \(open\) to 1 \(shut\), got -0\.5"):
        replace(labels, blink=np.full_like(labels.blink, -0.5))
    with pytest.raises(ValueError, match=r"coefficients is float32\[3, 256\]"):
        replace(labels, coefficients=np.zeros((3, 256), np.float32))
    with pytest.raises(ValueError, match="lip sync confidence must be finite, got inf"):
        replace(labels, lip_sync={"confidence": float("inf")})


def test_labels_refuse_partial_blendshapes() -> None:
    labels = random_sample(frames=3).labels
    shapes = np.full((3, 52), 0.25, np.float32)
    shapes[1] = np.nan
    assert replace(labels, blendshapes=shapes).blendshapes is shapes
    with pytest.raises(ValueError, match=r"blendshapes is float32\[2, 52\], need float32\[3, 52\]"):
        replace(labels, blendshapes=shapes[:2])
    for value, message in ((1.5, "within .* got 1.5"), (-0.5, "blendshapes must be 0 to 1, got -0.5")):
        with pytest.raises(ValueError, match=message):
            replace(labels, blendshapes=np.where(np.arange(52) == 7, np.float32(value), shapes))
    shapes[2, 7] = np.nan
    with pytest.raises(ValueError, match="blendshapes of a frame must be all NaN or all finite"):
        replace(labels, blendshapes=shapes)


def test_sample_refuses_mismatched_parts() -> None:
    sample = random_sample(frames=3)
    with pytest.raises(ValueError, match="3 frames, but labels of 2"):
        replace(sample, labels=random_sample(frames=2).labels)
    with pytest.raises(ValueError, match=r"mel is float32\[27, 80\], need float32\[28, 80\]"):
        replace(sample, mel=sample.mel[:-1])
    with pytest.raises(ValueError, match="anchor of frame 3, but 3 frames"):
        replace(sample, anchors=(replace(sample.anchors[0], base_frame=3),))
    with pytest.raises(ValueError, match=r"eye anchor from other-key: .* frames 0 and 7, errors \(nan,"):
        replace(sample.anchors[0], gaze_error_rad=float("nan"))


def test_check_array_wants_finite_float32() -> None:
    with pytest.raises(ValueError, match="owner: name contains a value that is not finite"):
        check_array("owner", "name", np.array([np.inf], np.float32), (1,))
    check_array("owner", "name", np.array([-1.0], np.float32), (1,), bound=1.0)
    check_array("owner", "name", np.zeros(0, np.float32), (0,), bound=1.0)
