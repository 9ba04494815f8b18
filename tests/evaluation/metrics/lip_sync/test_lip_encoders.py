"""A run's lip encoders as a scorer: training's own features, training's own windows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from upath import UPath

from evaluation.metrics.lip_sync.distance import LipSyncScorer
from evaluation.metrics.lip_sync.lip_encoders import (
    LipEncodersScorer,
    load_lip_encoders,
    load_named_lip_encoders,
)
from preprocessing.audio.mel import mel_features
from storage.publishing import BuildReport, Recipe, materialise
from tests.factories.evaluation.lip_stage_files import RUN, lip_networks, publish_lip_stage
from tests.factories.training.stages import TOY, row_facts
from training.engine.checkpoint import WEIGHTS_NAME
from training.engine.stage_weights import StageWeights, collect, write_weights
from training.losses.distances import cosine_similarity
from training.stages.stage import StageContext
from training.stages.stage2_lip import LipModel, LipStageSettings

FRAMES = 9


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> UPath:
    return publish_lip_stage(tmp_path_factory.mktemp("root"), lip_networks(21))


@pytest.fixture(scope="module")
def scorer(root: UPath) -> LipEncodersScorer:
    return load_lip_encoders(root, RUN)


def clip() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    lot = np.random.default_rng(2)
    coarse = lot.integers(0, 256, (FRAMES, 7, 7, 3)).astype(np.uint8)
    sound = lot.normal(0.0, 0.2, FRAMES * 640).clip(-1.0, 1.0).astype(np.float32)
    return np.kron(coarse, np.ones((1, 32, 32, 1), np.uint8)), sound


def test_embeddings_match_the_training_similarity(scorer: LipEncodersScorer) -> None:
    frames, sound = clip()
    parts = {name: part.eval() for name, part in lip_networks(21).items()}
    stage1 = StageWeights("stage1", collect({"motion.model": parts["motion.model"]}))
    model = LipModel(StageContext(TOY, {"stage1_motion": stage1}), LipStageSettings()).eval()
    model.to_mouth.load_state_dict(parts["motion.to_mouth"].state_dict())
    model.audio.load_state_dict(parts["audio.model"].state_dict())
    silent = np.zeros((9, 80), np.float32)
    mel = np.concatenate([silent[:8], mel_features(sound), silent])
    windows = torch.from_numpy(np.stack([mel[4 * t : 4 * t + 20].T for t in range(FRAMES)]))[:, None]
    with torch.no_grad():
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)[None]
        lips: Tensor = model.to_mouth(model.motion_feature(pictures, row_facts(1))[0])
        similarity = cosine_similarity(lips, model.audio(windows)).numpy()
    video, heard = scorer.embed_frames(iter(frames)), scorer.embed_sound(sound)
    np.testing.assert_allclose((video * heard).sum(axis=1), similarity, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(video, axis=1), 1.0, atol=1e-5)
    assert np.ptp(similarity) > 1e-3  # else any row would do


def test_lip_encoders_give_one_row_a_frame(scorer: LipEncodersScorer) -> None:
    assert isinstance(scorer, LipSyncScorer)
    frames, sound = clip()
    assert scorer.embed_frames(iter(frames)).shape == (FRAMES, TOY.motion.head_width)
    assert scorer.embed_sound(sound[: 3 * 640 + 639]).shape == (3, TOY.motion.head_width)
    assert scorer.embed_frames(iter([])).shape == scorer.embed_sound(sound[:639]).shape
    with pytest.raises(ValueError, match=r"frames must be \[224, 224, 3\], got \[64, 64, 3\]"):
        scorer.embed_frames(iter([np.zeros((64, 64, 3), np.uint8)]))


def test_scorer_name_has_run_and_weights(scorer: LipEncodersScorer, tmp_path: Path) -> None:
    kind, run, digest = scorer.name.split(":")
    assert (kind, run, len(digest)) == ("lip_encoders", RUN, 8)
    assert load_lip_encoders(publish_lip_stage(tmp_path / "same", lip_networks(21)), RUN).name == scorer.name
    for part in ("motion.model", "motion.to_mouth", "audio.model"):
        other = lip_networks(21) | {part: lip_networks(30)[part]}
        assert load_lip_encoders(publish_lip_stage(tmp_path / part, other), RUN).name != scorer.name


def test_lip_head_on_another_trunk_is_rejected(tmp_path: Path) -> None:
    root = publish_lip_stage(tmp_path, lip_networks(21))

    def other_trunk(work: Path) -> BuildReport:
        write_weights(work / WEIGHTS_NAME, collect({"motion.model": lip_networks(30)["motion.model"]}))
        return BuildReport({}, {})

    materialise(root, Recipe("stage1_motion", RUN, "2", {}, {}), other_trunk)
    with pytest.raises(ValueError, match="stage1_motion of run 'toy' was trained again after stage2_lip"):
        load_lip_encoders(root, RUN)


def test_missing_run_lists_existing_runs(root: UPath) -> None:
    with pytest.raises(ValueError, match=r"run 'none' has not trained stage2_lip .*; runs that have: toy"):
        load_lip_encoders(root, "none")


def test_run_is_loaded_by_name_or_root_path(
    root: UPath, scorer: LipEncodersScorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDFGC_ROOT", str(root))
    assert load_named_lip_encoders(Path(RUN)).name == scorer.name
    monkeypatch.setenv("PDFGC_ROOT", str(tmp_path))
    assert load_named_lip_encoders(Path(str(root)) / RUN).name == scorer.name
    with pytest.raises(FileNotFoundError, match=r"no root .*absent"):
        load_named_lip_encoders(tmp_path / "absent" / RUN)
    assert not (tmp_path / "absent").exists()
