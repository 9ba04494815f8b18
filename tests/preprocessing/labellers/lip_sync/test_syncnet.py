"""SyncNet's scores of embeddings with a known offset, and of a checkpoint of the published layout."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typing_extensions import override

from models.external.syncnet import SyncNet
from preprocessing.labellers.backend import read_labellers
from preprocessing.labellers.lip_sync.syncnet import SyncNetScores
from preprocessing.labels.lip_sync import (
    SCORES_TABLE,
    LipSyncScoreSettings,
    make_lip_sync_scores,
    read_lip_sync,
)
from preprocessing.schema import Clip
from tests.factories.preprocessing.backends import made_clip, noise, weights_at, write_clips


class Delayed:
    """Embeds frame t as a unit vector of its own, and the sound as the same vectors, some frames later."""

    def __init__(self, offset_frames: int) -> None:
        self.offset_frames = offset_frames

    def embed_frames(self, frames: torch.Tensor) -> torch.Tensor:
        assert frames.dtype == torch.uint8
        assert frames.shape[1:] == (3, 224, 224)
        return torch.eye(200)[50 : 50 + len(frames) - 4]

    def embed_mfcc(self, mfcc: torch.Tensor) -> torch.Tensor:
        start = 50 - self.offset_frames
        return torch.eye(200)[start : start + (len(mfcc) - 20) // 4 + 1]


def clip_of(frames: int, **changes: Any) -> Clip:
    clip = made_clip("a", [np.full((224, 224, 3), (10, 20, 200), np.uint8)] * frames)
    return Clip(**{**{name: getattr(clip, name) for name in clip.__dataclass_fields__}, **changes})


def score(network: Delayed, clip: Clip) -> dict[str, float]:
    scorer = SyncNetScores(network)
    return scorer.label(scorer.prepare(clip))


@pytest.mark.parametrize("late", [0, 3, -5])
def test_late_sound_has_a_positive_offset(late: int) -> None:
    scores = score(Delayed(late), clip_of(50))
    assert scores["offset_frames"] == late
    assert scores["distance"] == pytest.approx(0.0, abs=1e-4)
    assert scores["confidence"] == pytest.approx(2**0.5, abs=1e-4)


def test_frames_are_in_bgr_order() -> None:
    class Colour(Delayed):
        @override
        def embed_frames(self, frames: torch.Tensor) -> torch.Tensor:
            assert frames[0].float().mean(dim=(1, 2)).tolist() == pytest.approx([200, 20, 10], abs=3)
            return super().embed_frames(frames)

    assert score(Colour(0), clip_of(40))


def test_short_and_silent_clips_are_not_scored() -> None:
    assert score(Delayed(0), clip_of(34)) == {}
    assert score(Delayed(0), clip_of(40, sound=np.zeros(40 * 640, np.float32))) == {}


def test_published_layout_scores_clips(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(SyncNet().state_dict(), tmp_path / "syncnet_v2.model")
    clips = write_clips(tmp_path / "clips", [made_clip("a", noise(35)), made_clip("b", noise(5))])
    settings = LipSyncScoreSettings(backend="syncnet_v2")
    weights = weights_at(tmp_path / "syncnet_v2.model")
    report = make_lip_sync_scores(clips, settings, tmp_path, weights)
    assert (report.counts, report.refusals) == ({"clips": 2, "scored": 1}, {"not_scored": 1})
    scores = read_lip_sync(tmp_path)
    assert set(scores["a"]) == {"confidence", "offset_frames", "distance"}
    assert scores["b"] == {}
    assert set(pq.read_table(tmp_path / SCORES_TABLE)["scorer"].to_pylist()) == {
        "syncnet_v2 1 weights aaaaaaaa"
    }
    assert read_labellers(tmp_path) == {"lip_sync": "syncnet_v2 1 weights aaaaaaaa"}
