"""Sound moved against its pictures."""

from dataclasses import replace

import numpy as np
import pytest

from preprocessing.audio.sound_shift import kept_frames, moved_anchors, moved_clip, moved_labels
from preprocessing.schema import ClipSample
from tests.factories.clips import random_clip, random_sample


def test_late_sound_ends_the_pictures_early_and_early_sound_begins_them_late() -> None:
    assert kept_frames(10, 3) == range(7)
    assert kept_frames(10, -3) == range(3, 10)
    assert kept_frames(10, 0) == range(10)
    assert len(kept_frames(3, 4)) == 0


@pytest.mark.parametrize("late_frames", [2, -2])
def test_each_picture_gets_the_sound_that_came_late_frames_after_it(late_frames: int) -> None:
    clip = random_clip(5)
    numbers = np.repeat(np.arange(5), 640) / 10  # of frame t, t / 10
    clip = replace(clip, sound=numbers.astype(np.float32))
    moved = moved_clip(clip, late_frames)
    first = 0 if late_frames > 0 else 2
    assert moved.frames_jpeg == clip.frames_jpeg[first : first + 3]
    sound_of_frames = np.round(moved.sound.reshape(3, 640) * 10)
    np.testing.assert_array_equal(
        sound_of_frames, np.broadcast_to(np.arange(first, first + 3)[:, None] + late_frames, (3, 640))
    )
    np.testing.assert_array_equal(moved.landmarks_px, clip.landmarks_px[first : first + 3])
    np.testing.assert_array_equal(
        moved.source.crop_transforms, clip.source.crop_transforms[first : first + 3]
    )
    assert (moved.key, moved.source.first_frame) == (clip.key, 50 + first)


def test_a_clip_of_which_nothing_would_stay_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sound -3 frames late, of 3 frames none is left$"):
        moved_clip(random_clip(3), -3)


def test_labels_tell_what_was_moved_and_what_is_left() -> None:
    sample = random_sample(5)
    labels = replace(sample.labels, blendshapes=np.full((5, 52), 0.5, np.float32))
    moved = moved_labels(labels, -3)
    assert moved.lip_sync == {
        "confidence": 0.25,
        "offset_frames": 1.0,
        "correlation": 0.5,
        "sound_moved_frames": -3.0,
    }
    assert moved.coefficients is not None
    assert moved.blendshapes is not None
    for name in ("pose", "gaze", "blink", "coefficients", "blendshapes"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(labels, name)[3:])


def test_anchors_go_with_their_frames() -> None:
    sample = random_sample(5, anchors=5)  # on frames 0 to 4
    assert [anchor.base_frame for anchor in moved_anchors(sample.anchors, 5, -2)] == [0, 1, 2]
    assert [anchor.composite_jpeg for anchor in moved_anchors(sample.anchors, 5, -2)] == [
        anchor.composite_jpeg for anchor in sample.anchors[2:]
    ]
    assert [anchor.base_frame for anchor in moved_anchors(sample.anchors, 5, 2)] == [0, 1, 2]


def test_what_is_moved_fits_the_contract() -> None:
    sample = random_sample(5, anchors=5)
    moved = ClipSample(
        moved_clip(sample.clip, 1),
        moved_labels(sample.labels, 1),
        np.zeros((4 * 4 + 7, 80), np.float32),
        moved_anchors(sample.anchors, 5, 1),
    )
    assert (moved.clip.frame_count, len(moved.anchors)) == (4, 4)
