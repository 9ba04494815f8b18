"""Features of a frozen trunk, cached: the same as computed at every step."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from upath import UPath

from models.motion import MotionEncoder
from models.perception import PerceptionNetwork
from models.presets import NetworkPreset
from models.trunks.mesh_trunk import MeshTrunk, MeshTrunkConfig
from tests.factories.training.stages import TOY, TOY_SIDE_PX, TOY_WARP
from tests.factories.training.toy_run import TOY_CACHED_RUN, TOY_RUN, toy_parents
from training.data.augmentation.pictures import MotionAugmentation
from training.data.batches import Batch
from training.data.frame_features import (
    FILES_KEPT,
    FrameFeatures,
    compute_frame_features,
    compute_stage_features,
    features_file,
    keep_features,
    read_features,
)
from training.data.frames import to_network_input
from training.data.index import open_current
from training.data.loader import BatchStream, LoaderSettings
from training.data.shard_reader import ReaderSettings, ShardReader
from training.stages import expression_model, stage1_motion
from training.stages.expression_model import ExpressionModel
from training.stages.perception import PerceptionStage, PerceptionStageSettings
from training.stages.stage import Stage, StageContext, stage_class
from training.stages.stage2_lip import LipStageSettings

LOADER = LoaderSettings(batch_size=3, workers=0)
CACHED_STAGES = ("stage1_motion", "stage2_lip", "stage2_eye", "stage2_pose", "stage3_expression")


def make_trunk() -> MotionEncoder:
    torch.manual_seed(0)
    return MotionEncoder(TOY.motion).eval()


def same_images(images: Tensor, *_: Any) -> Tensor:
    return images


def prepared_stage(root: UPath, name: str, *, cached: bool) -> Stage[Any]:
    torch.manual_seed(0)
    run = TOY_CACHED_RUN if cached else TOY_RUN
    settings = run.stage(name).settings.replace(cache_features=cached)
    stage = stage_class(name)(StageContext(TOY_WARP, toy_parents(TOY_WARP)), settings)
    stage.model.eval()
    with torch.no_grad():
        stage.prepare([open_current(root, split) for split in ("train", "validation")], LOADER)
    return stage


def first_batch(root: UPath, stage: Stage[Any], split: Any = "train", workers: int = 0) -> Any:
    return next(iter(BatchStream(stage.source(open_current(root, split)), LOADER.replace(workers=workers))))


def test_rows_are_the_network_of_the_frames(toy_root: UPath) -> None:
    index, trunk = open_current(toy_root, "train"), make_trunk().model
    table = compute_frame_features(index, trunk, TOY_SIDE_PX, torch.device("cpu"), workers=0)
    assert table.values.shape == (int(index.frame_counts.sum()), TOY.motion.trunk.feature_width)
    reader = ShardReader(index, ReaderSettings())
    for clip in range(len(index)):
        frames = [int(index.frame_counts[clip]) - 1, 0, 3]
        with torch.no_grad():
            expected = trunk(to_network_input(torch.stack(reader.frames(clip, frames)), TOY_SIDE_PX))
        torch.testing.assert_close(table.rows(clip, frames), expected, rtol=1e-5, atol=1e-5)
    assert not table.values.requires_grad


def test_kept_features_serve_the_same_trunk_and_frames_only(toy_root: UPath, tmp_path: Path) -> None:
    index = dataclasses.replace(open_current(toy_root, "train"), features_folder=tmp_path)
    trunk = make_trunk().model
    calls = list[int]()
    trunk.register_forward_hook(lambda *_: calls.append(1))
    first = compute_stage_features([index], trunk, TOY_SIDE_PX, workers=0)["train"]
    computed = len(calls)
    again = compute_stage_features([index], trunk, TOY_SIDE_PX, workers=0)["train"]
    assert len(calls) == computed > 0
    assert torch.equal(again.values, first.values)
    assert again.starts.tolist() == first.starts.tolist()
    other_split = dataclasses.replace(open_current(toy_root, "validation"), features_folder=tmp_path)
    assert read_features(other_split, trunk, TOY_SIDE_PX) is None
    with torch.no_grad():
        next(trunk.parameters()).add_(1e-3)
    assert read_features(index, trunk, TOY_SIDE_PX) is None
    assert read_features(dataclasses.replace(index, features_folder=None), trunk, TOY_SIDE_PX) is None


def test_oldest_kept_features_go(toy_root: UPath, tmp_path: Path) -> None:
    index = dataclasses.replace(open_current(toy_root, "validation"), features_folder=tmp_path)
    trunk = make_trunk().model
    table = FrameFeatures(torch.zeros(1, 1), np.zeros(1, np.int64))
    for side_px in range(FILES_KEPT + 2):
        keep_features(index, trunk, side_px, table)
        file = features_file(index, trunk, side_px)
        assert file is not None
        os.utime(file, (side_px, side_px))
    kept = [read_features(index, trunk, side_px) is not None for side_px in range(FILES_KEPT + 2)]
    assert kept == [False, False, *[True] * FILES_KEPT]


def test_stage_features_are_of_evaluation_mode(toy_root: UPath) -> None:
    indexes, trunk = [open_current(toy_root, "validation")], make_trunk().model.train()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    features = compute_stage_features(indexes, trunk, TOY_SIDE_PX, workers=0)
    assert trunk.training
    assert set(features) == {"validation"}
    torch.testing.assert_close(dict(trunk.state_dict()), before, rtol=0, atol=0)
    expected = compute_stage_features(indexes, trunk.eval(), TOY_SIDE_PX, workers=0)["validation"].values
    assert torch.equal(features["validation"].values, expected)


@pytest.mark.parametrize("name", CACHED_STAGES)
def test_step_with_cached_features_equals_one_without(
    toy_root: UPath, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # Where features are cached the trunk's input is not augmented.
    monkeypatch.setattr(stage1_motion, "augment_motion", same_images)
    monkeypatch.setattr(expression_model, "augment_window", same_images)
    cached, computed = (prepared_stage(toy_root, name, cached=cached) for cached in (True, False))
    batches = [first_batch(toy_root, stage) for stage in (cached, computed)]
    assert batches[0].facts == batches[1].facts
    assert batches[0].features is not None
    assert batches[1].features is None
    assert batches[0].features.dtype == torch.float32
    losses = [
        {key: value.detach() for key, value in stage.model.eval()(batch).losses.items()}
        for stage, batch in zip((cached, computed), batches, strict=True)
    ]
    assert losses[0]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["stage2_lip", "stage2_eye", "stage2_pose", "stage3_expression"])
def test_held_out_metrics_with_cached_features_are_the_same(toy_root: UPath, name: str) -> None:
    values: list[list[float]] = []
    for cached in (True, False):
        stage = prepared_stage(toy_root, name, cached=cached)
        with torch.no_grad():
            metrics = stage.held_out([first_batch(toy_root, stage, "validation")])
        values.append([metric.value for metric in metrics])
    assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", ["stage2_lip", "stage2_pose"])
def test_images_that_nobody_reads_are_empty_and_pass_through_workers(toy_root: UPath, name: str) -> None:
    stage = prepared_stage(toy_root, name, cached=True)
    here, there = (first_batch(toy_root, stage, workers=workers) for workers in (0, 1))
    assert isinstance(here, Batch)
    assert here.tensors()["frames"].shape == (3, 0)
    assert here.tensors().keys() == there.tensors().keys()
    for field, value in here.tensors().items():
        assert torch.equal(there.tensors()[field], value), field
    assert here.facts == there.facts


def test_cached_window_holds_the_driving_frame_only(toy_root: UPath) -> None:
    cached, computed = (
        prepared_stage(toy_root, "stage3_expression", cached=cached) for cached in (True, False)
    )
    with_features, without = (first_batch(toy_root, stage) for stage in (cached, computed))
    assert with_features.window.shape[1] == 1
    assert without.window.shape[1] == 3
    assert torch.equal(with_features.driving, without.driving)
    assert torch.equal(with_features.landmarks_px, without.landmarks_px)
    assert isinstance(computed.model, ExpressionModel)
    trunk = computed.model.encoders.trunk
    assert torch.equal(with_features.appearance_landmarks_px, without.appearance_landmarks_px)
    frames = torch.cat([without.appearance[:, None], without.window], dim=1)
    expected = trunk(to_network_input(frames.flatten(0, 1), TOY_SIDE_PX)).unflatten(0, (3, 4))
    torch.testing.assert_close(with_features.features, expected, rtol=1e-5, atol=1e-5)
    moved = dataclasses.replace(with_features).to("cpu")
    assert torch.equal(moved.features, with_features.features)


def test_cache_and_augmentation_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="cache_features needs augmentation None"):
        LipStageSettings(cache_features=True, augmentation=MotionAugmentation())


def with_mesh_trunk(networks: NetworkPreset) -> NetworkPreset:
    mesh = MeshTrunkConfig(TOY_SIDE_PX)
    return dataclasses.replace(
        networks,
        motion=dataclasses.replace(networks.motion, trunk=mesh),
        perception=dataclasses.replace(networks.perception, trunk=mesh),
        generator=dataclasses.replace(networks.generator, motion_feature_width=mesh.feature_width),
    )


@pytest.mark.parametrize("name", CACHED_STAGES)
def test_every_stage_trains_on_a_mesh_trunk(toy_root: UPath, name: str) -> None:
    networks = with_mesh_trunk(TOY_WARP)
    torch.manual_seed(0)
    settings = TOY_CACHED_RUN.stage(name).settings.replace(cache_features=True)
    stage = stage_class(name)(StageContext(networks, toy_parents(networks)), settings)
    stage.model.eval()
    with torch.no_grad():
        stage.prepare([open_current(toy_root, split) for split in ("train", "validation")], LOADER)
    stage.model.train()
    losses = stage.model(first_batch(toy_root, stage)).losses
    sum(losses.values(), torch.zeros(())).backward()
    gradients = [value.grad for value in stage.model.parameters() if value.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():
        stage.model.eval()
        metrics = stage.held_out([first_batch(toy_root, stage, "validation")])
    assert all(math.isfinite(metric.value) for metric in metrics)


def test_perception_standardises_a_mesh_trunk_on_the_training_frames_and_caches_it(toy_root: UPath) -> None:
    networks = with_mesh_trunk(TOY)
    settings = PerceptionStageSettings(cache_features=True)
    stage = PerceptionStage(StageContext(networks, {}), settings)
    stage.model.eval()
    with torch.no_grad():
        stage.prepare([open_current(toy_root, split) for split in ("train", "validation")], LOADER)
        batch = first_batch(toy_root, stage)
        network = stage.saved["perception"]
        assert isinstance(network, PerceptionNetwork)
        frames = ShardReader(open_current(toy_root, "train"), ReaderSettings()).frames(0, range(4))
        features = network.trunk(to_network_input(torch.stack(frames), TOY_SIDE_PX))
        expected = [network.read(features).landmarks, stage.model(batch).losses["landmarks"]]
    assert batch.features.shape == (3, networks.motion.trunk.feature_width)
    assert batch.frames.shape == (3, 0)
    assert all(values.isfinite().all() for values in expected)
    cached = stage.source(open_current(toy_root, "train")).features
    assert cached is not None
    assert cached.values.mean(dim=0).abs().max() < 1e-3
    torch.testing.assert_close(cached.rows(0, [0, 1, 2, 3]), features, rtol=1e-3, atol=1e-3)


def test_perception_keeps_the_scale_of_a_mesh_trunk_that_it_starts_from(toy_root: UPath) -> None:
    """What the trunk computes is what its features were cached as, in the units that its heads expect."""
    networks = with_mesh_trunk(TOY)
    stage = PerceptionStage(StageContext(networks, {}), PerceptionStageSettings(cache_features=True))
    network = stage.saved["perception"]
    assert isinstance(network, PerceptionNetwork)
    assert isinstance(network.trunk, MeshTrunk)
    given = torch.linspace(-1.0, 1.0, networks.motion.trunk.feature_width)
    network.trunk.standardise.mean.copy_(given)
    network.trunk.standardise.factor.copy_(given + 2)
    stage.model.eval()
    with torch.no_grad():
        stage.prepare([open_current(toy_root, split) for split in ("train", "validation")], LOADER)
        frames = ShardReader(open_current(toy_root, "train"), ReaderSettings()).frames(0, range(2))
        features = network.trunk(to_network_input(torch.stack(frames), TOY_SIDE_PX))
    assert torch.equal(network.trunk.standardise.mean, given)
    assert torch.equal(network.trunk.standardise.factor, given + 2)
    cached = stage.source(open_current(toy_root, "train")).features
    assert cached is not None
    torch.testing.assert_close(cached.rows(0, [0, 1]), features, rtol=1e-3, atol=1e-3)


def test_perception_caches_no_features_of_a_trunk_that_it_trains() -> None:
    with pytest.raises(ValueError, match="cache_features of perception needs a trunk that is not trained"):
        PerceptionStage(StageContext(TOY, {}), PerceptionStageSettings(cache_features=True))
