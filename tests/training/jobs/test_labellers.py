"""Labels of several labellers: rejected before a stage trains, or allowed and recorded in the recipe."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from preprocessing.dataset.index import ShardSet
from preprocessing.dataset.joining import DatasetSettings, PreviousDataset, make_dataset
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root
from tests.factories.preprocessing.published_steps import LABELLERS, make_clip, make_sample, publish_shard
from training.jobs.config import TrainingConfig
from training.jobs.job import TrainingJob
from training.jobs.labellers import allowed_mix, read_labellers, require_one_labeller
from training.jobs.stage_run import run_stage
from training.jobs.worker import train
from training.stage_catalog import STAGE_NAMES

CONFIG = TrainingConfig(device="cpu")
ALLOWED = CONFIG.replace(allow_mixed_labellers=True)
DEEP3D = "deep3d 1 weights 0123abcd"


def root_with(folder: Path, statistics: Mapping[str, Any]) -> UPath:
    """A root with a data set that consists of its statistics only."""
    root = open_root(str(folder))

    def build(work: Path) -> BuildReport:
        (work / "statistics.json").write_text(json.dumps(statistics))
        return BuildReport({}, {})

    materialise(root, Recipe("dataset", "whole", "1", dict(statistics), {}), build)
    return root


def refuse(*arguments: object) -> None:
    raise AssertionError(f"started {arguments}")


def test_mixed_labellers_are_rejected_unless_allowed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = dict[str, ShardSet]()
    for batch, people, pose in (("b0", "ab", LABELLERS["pose"]), ("b1", "c", DEEP3D)):
        samples = [
            make_sample(make_clip(f"video{name}", name), labellers={**LABELLERS, "pose": pose})
            for name in people
        ]
        location = f"assets/shards/{batch}/f00d"
        folder = publish_shard(tmp_path / location, "000.tar", samples)
        sha256 = hashlib.sha256((folder / "000.tar").read_bytes()).hexdigest()
        shards[batch] = ShardSet(folder, location, {"000.tar": sha256})
    root, settings = open_root(str(tmp_path)), DatasetSettings(allow_mixed_labellers=True, pictured_samples=1)
    materialise(
        root,
        Recipe("dataset", "whole", "1", settings, {}),
        lambda work: make_dataset(shards, PreviousDataset(), settings, work),
    )
    line = (
        r"^perception reads labels of different labellers: pose by deep3d 1 weights 0123abcd \(samples: 1\) "
        r"and by p 1 \(samples: 2\)\. Relabel the stale batches \(.*\), then make `dataset`, or set "
        r"allow_mixed_labellers$"
    )
    with pytest.raises(ValueError, match=line):
        run_stage(root, "perception", CONFIG, refuse)
    with pytest.raises(ValueError, match=line):
        train(TrainingJob(root=str(root), stage="perception", config=CONFIG, work=tmp_path / "work"))
    with pytest.raises(AssertionError, match="started"):
        run_stage(root, "perception", ALLOWED, refuse)
    assert caplog.messages[-1].endswith("and by p 1 (samples: 2) (allowed by allow_mixed_labellers)")


def test_stages_check_only_labels_they_read(tmp_path: Path) -> None:
    labellers = {label: {"x 1": 1, "x 2": 2} for label in ("pose", "gaze", "lip_sync")}
    root = root_with(tmp_path, {"labellers": labellers})
    refused = set[str]()
    for stage in STAGE_NAMES:
        try:
            require_one_labeller(root, stage, CONFIG)
        except ValueError:
            refused.add(stage)
    assert refused == set(STAGE_NAMES) - {"stage2_lip"}
    with pytest.raises(
        ValueError, match=r"^stage2_pose reads [^;]*: pose by x 1 \(samples: 1\) and by x 2 [^;]*$"
    ):
        require_one_labeller(root, "stage2_pose", CONFIG)


def test_all_stages_check_the_face_detector(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"labellers": {"faces": {"built in": 9, "finder 1": 1}}})
    for stage in STAGE_NAMES:
        with pytest.raises(ValueError, match=rf"^{stage} reads labels .*: faces by built in \(samples: 9"):
            require_one_labeller(root, stage, CONFIG)


def test_one_labeller_per_label_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = root_with(tmp_path, {"labellers": {"pose": {"p 1": 3}, "gaze": {"g 1": 3}}})
    require_one_labeller(root, "perception", CONFIG)
    assert caplog.messages == []


def test_data_set_without_labellers_logs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = root_with(tmp_path, {"schema_version": 1})
    assert read_labellers(root) == {}
    require_one_labeller(root, "perception", CONFIG)
    assert caplog.messages[0].startswith("The data set does not record its labellers")


def test_recipe_records_an_allowed_mix_only(tmp_path: Path) -> None:
    mixed = root_with(tmp_path / "mixed", {"labellers": {"pose": {"p 2": 1, "p 1": 2}, "gaze": {"g 1": 3}}})
    alike = root_with(tmp_path / "alike", {"labellers": {"pose": {"p 1": 3}}})
    assert allowed_mix(mixed, "perception", ALLOWED) == {"mixed_labellers": {"pose": ["p 1", "p 2"]}}
    assert allowed_mix(mixed, "perception", CONFIG) == {}
    assert allowed_mix(mixed, "stage2_lip", ALLOWED) == {}
    assert allowed_mix(alike, "perception", ALLOWED) == {}
