"""The scoring chain on real clips. SyncNet's weights are not here: what holds with any weights is held."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.metrics.lip_sync.distance import LipSyncScore, NotScored
from evaluation.metrics.lip_sync.face_crops import TrackProtocol, crop_squares
from evaluation.metrics.lip_sync.lse_syncnet_frame import score_whole_frames
from evaluation.metrics.lip_sync.lse_syncnet_track import (
    choose_track,
    find_tracks,
    read_crops,
    score_face_track,
)
from evaluation.metrics.lip_sync.syncnet import SyncNetScorer, load_syncnet_scorer
from models.external.syncnet import SyncNet
from preprocessing.faces.mesh import FaceMesh
from tests.factories.models.weights import randomise

pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> SyncNetScorer:
    import torch

    network = SyncNet()
    randomise(network, seed=53)
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    torch.save(network.state_dict(), path)
    return load_syncnet_scorer(path)


def clip_of(folder: Path, person: str) -> Path:
    return min((folder / "videos" / person).iterdir())


def test_a_clip_of_three_seconds_has_frames_to_score_but_no_track(
    shared_clips: Path, scorer: SyncNetScorer
) -> None:
    clip = clip_of(shared_clips, "person-a")
    whole = score_whole_frames(clip, scorer)
    assert isinstance(whole, LipSyncScore)
    assert 65 <= whole.frames <= 70
    followed = score_face_track(clip, scorer)
    assert isinstance(followed, NotScored)
    assert followed.reason == "too_short"


def test_crops_of_a_real_track_hold_the_mouth_below_their_middle(shared_clips: Path) -> None:
    """The published crop has half a box of room below: the lips lie at about 45 to 65 % of its height."""
    protocol = TrackProtocol()
    clip = clip_of(shared_clips, "person-m")
    track = choose_track(find_tracks(clip, protocol), protocol)
    assert track.detections >= 100
    crops = list(read_crops(clip, track.first_frame, crop_squares(track, protocol), protocol))
    assert len(crops) == len(track.boxes_px)
    with FaceMesh(tracking=False) as mesh:
        found = [mesh.find(crop) for crop in crops[::20]]
    lips = np.asarray([points[[13, 14], :2].mean(axis=0) for points in found if points is not None]) / 224
    assert len(lips) == len(found)
    assert (np.abs(lips[:, 0] - 0.5) < 0.08).all(), lips
    assert ((lips[:, 1] > 0.45) & (lips[:, 1] < 0.65)).all(), lips
