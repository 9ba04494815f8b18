"""The stage-2 scorer of a trained run on held-out clips of its own data set.

PDFGC_TEST_ROOT names the root, PDFGC_TEST_RUN the run where it is not `default`. Over clips together, since a
weakly trained run tells nothing of a single one.
"""

import io
import os
import tarfile
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluation.metrics.lip_sync.lip_encoders import LipEncodersScorer, load_lip_encoders
from preprocessing.audio.lip_sync_distance import MAXIMUM_SHIFT_FRAMES, distances_by_shift
from preprocessing.schema import SAMPLES_PER_FRAME, Clip
from preprocessing.shards import decode_sample
from storage.publishing import current
from storage.root import open_root
from training.data.index import open_current

pytestmark = [pytest.mark.real, pytest.mark.slow]

MARGIN_FRAMES = 5
FEWEST_FRAMES = 30 + 2 * MARGIN_FRAMES
MOST_CLIPS = 8

Embedded = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Features of a clip's pictures, and its sound."""


@pytest.fixture(scope="module")
def scorer() -> LipEncodersScorer:
    location, run = os.environ.get("PDFGC_TEST_ROOT"), os.environ.get("PDFGC_TEST_RUN", "default")
    if not location:
        pytest.skip("PDFGC_TEST_ROOT names no root with a trained run")
    if current(open_root(location), "stage2_lip", run) is None:
        pytest.skip(f"run {run!r} has not trained stage2_lip under PDFGC_TEST_ROOT")
    return load_lip_encoders(open_root(location), run)


@pytest.fixture(scope="module")
def clips(scorer: LipEncodersScorer) -> list[Embedded]:
    found = [clip for clip in held_out_clips() if clip.frame_count >= FEWEST_FRAMES][:MOST_CLIPS]
    return [(scorer.embed_frames(pictures(clip)), clip.sound) for clip in found]


def held_out_clips() -> Iterator[Clip]:
    index = open_current(open_root(os.environ["PDFGC_TEST_ROOT"]), "validation")
    for number in range(len(index)):
        with index.shard_paths[index.shards[number]].open("rb") as shard:
            shard.seek(int(index.offsets_bytes[number]))
            data = shard.read(int(index.sizes_bytes[number]))
        with tarfile.open(fileobj=io.BytesIO(data + bytes(1024))) as archive:
            members = {member.name: archive.extractfile(member) for member in archive}
            prefix = f"{index.key(number)}."
            yield decode_sample(
                index.key(number),
                {name.removeprefix(prefix): file.read() for name, file in members.items() if file},
            ).clip


def pictures(clip: Clip) -> Iterator[NDArray[np.uint8]]:
    for jpeg in clip.frames_jpeg:
        decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        yield np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def curve(scorer: LipEncodersScorer, clips: list[Embedded], late: int) -> NDArray[np.float64]:
    """Mean over clips of the distances by shift, the sound late by some frames; edges hold real sound."""
    curves: list[NDArray[np.float64]] = []
    for video, sound in clips:
        first, end = MARGIN_FRAMES - late, len(video) - MARGIN_FRAMES - late
        heard = scorer.embed_sound(sound[first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME])
        curves.append(distances_by_shift(video[MARGIN_FRAMES:-MARGIN_FRAMES], heard, "left out"))
    return np.mean(curves, axis=0)


def offset_frames(distances: NDArray[np.float64]) -> int:
    return MAXIMUM_SHIFT_FRAMES - int(np.argmin(distances))


def test_sound_that_is_late_moves_the_offset_by_exactly_that(
    scorer: LipEncodersScorer, clips: list[Embedded]
) -> None:
    in_step = offset_frames(curve(scorer, clips, late=0))
    if abs(in_step) > 1:
        pytest.skip(f"{scorer.name} puts {len(clips)} clips in step at {in_step:+d}: it cannot tell sync")
    found = [offset_frames(curve(scorer, clips, late)) for late in range(-5, 6)]
    assert found == [in_step - late for late in range(-5, 6)]


def test_sound_of_another_clip_lowers_the_confidence(
    scorer: LipEncodersScorer, clips: list[Embedded]
) -> None:
    own = curve(scorer, clips, late=0)
    if abs(offset_frames(own)) > 1:
        pytest.skip(f"{scorer.name} cannot tell sync on {len(clips)} clips")
    count = len(clips)
    swapped = [(clips[place][0], clips[(place + count // 2) % count][1]) for place in range(count)]
    lengths = [min(len(video), len(sound) // SAMPLES_PER_FRAME) for video, sound in swapped]
    cut = [
        (video[:n], sound[: n * SAMPLES_PER_FRAME])
        for (video, sound), n in zip(swapped, lengths, strict=True)
    ]
    other = curve(scorer, cut, late=0)
    assert np.median(own) - own.min() > np.median(other) - other.min()
