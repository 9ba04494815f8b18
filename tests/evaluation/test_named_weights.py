"""Weights of the list in the settings of an evaluation: used by name, and recorded in what is published."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from upath import UPath

from evaluation.animation.loading import load_talking_head
from evaluation.config import EvaluationConfig
from evaluation.records import read_records
from evaluation.suites.quality import run_quality_evaluation
from evaluation.suites.score_videos import score_videos
from storage.root import local_copy, open_root
from tests.factories.evaluation.head_files import write_released_tiny
from tests.factories.evaluation.report import publish_evaluations
from weights import catalog as pretrained


@pytest.fixture
def alexnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """AlexNet's features at random, in the folder of weights, and in the list as if they were published."""
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("PDFGC_ACCEPT_LICENCES", raising=False)
    row = pretrained.PRETRAINED["alexnet"]
    path = tmp_path / "weights/alexnet" / row.files[0].name
    path.parent.mkdir(parents=True)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        features = torchvision.models.AlexNet().features
    torch.save({f"features.{key}": value for key, value in features.state_dict().items()}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = (replace(row.files[0], size_bytes=path.stat().st_size, sha256=digest),)
    monkeypatch.setitem(pretrained.PRETRAINED, "alexnet", replace(row, files=files))
    return path


@pytest.fixture
def root(tmp_path: Path) -> UPath:
    root = open_root(str(tmp_path / "root"))
    publish_evaluations(root, "default")
    return root


def test_metric_takes_weights_by_name_and_records_them(
    root: UPath, alexnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluationConfig(run="default", lpips_weights="alexnet")
    with pytest.raises(ValueError, match="alexnet: the licence must be accepted once"):
        run_quality_evaluation(root, config)
    monkeypatch.setenv("PDFGC_ACCEPT_LICENCES", "alexnet")
    published = run_quality_evaluation(root, config)
    rows = read_records(local_copy(published.directory) / "metric_records.parquet")
    assert all(row.value is not None for row in rows if row.metric.startswith("lpips"))
    (record,) = json.loads((local_copy(published.directory) / "pretrained_weights.json").read_text())
    digest = hashlib.sha256(alexnet.read_bytes()).hexdigest()
    assert (record["setting"], record["weights"], record["sha256"]) == ("lpips_weights", "alexnet", digest)
    assert record["licence"]["acceptance"]["how"] == "environment"
    by_path = EvaluationConfig(run="default", lpips_weights=str(alexnet))
    assert not run_quality_evaluation(root, by_path).built


def test_setting_rejects_weights_of_another_kind(root: UPath) -> None:
    with pytest.raises(ValueError, match=r"^fid_weights does not take alexnet; it takes fid_inception$"):
        run_quality_evaluation(root, EvaluationConfig(run="default", fid_weights="alexnet"))


@pytest.mark.usefixtures("alexnet")
def test_scorer_takes_weights_by_name(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"^syncnet_v2 is missing: no syncnet_v2\.model in "):
        score_videos([video], "syncnet_v2", Path("syncnet_v2"), "frame")


def test_released_files_load_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDFGC_WEIGHTS", str(tmp_path / "weights"))
    root = open_root(str(tmp_path / "root"))
    with pytest.raises(
        FileNotFoundError, match=r"^pdfgc_official is missing: .* download checkpoints\.tar from https://"
    ):
        load_talking_head("pdfgc_official", root)
    write_released_tiny(tmp_path / "weights/pdfgc_official")
    head = load_talking_head("pdfgc_official", root, "cpu", official_networks="tiny")
    assert head.name == f"released files in {tmp_path / 'weights/pdfgc_official'}"
