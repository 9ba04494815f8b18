"""A data set as a folder that `datasets.load_dataset` opens, with every picture and label unchanged."""

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from upath import UPath

from preprocessing.archive import Place, read_members
from preprocessing.dataset.hub_export import HUB_INDEX_SCHEMA, README, export_dataset
from preprocessing.dataset.index import DATASET, WHOLE, ShardSet
from preprocessing.dataset.joining import DatasetSettings, PreviousDataset, make_dataset
from preprocessing.schema import ClipSample
from preprocessing.shards import decode_array
from storage.publishing import BuildReport, Published, Recipe, materialise
from tests.factories.preprocessing.published_steps import eyes_of, make_clip, make_sample, publish_shard


def publish(root: UPath, asset: str, partition: str, fill: Any) -> Published:
    def build(folder: Path) -> BuildReport:
        fill(folder)
        return BuildReport(counts={}, refusals={})

    return materialise(root, Recipe(asset, partition, "1", {}, {}), build)


@pytest.fixture(scope="module")
def samples() -> list[ClipSample]:
    anna, berta = make_clip("videoa", "anna", frames=3), make_clip("videob", "berta")
    return [make_sample(anna, anchors=(eyes_of(berta),)), make_sample(berta)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, samples: list[ClipSample]) -> UPath:
    """Two samples in one shard, one of them in split test."""
    root = UPath(tmp_path_factory.mktemp("root"))
    made = publish_shard(tmp_path_factory.mktemp("made") / "shards", "b0-000.tar", samples)
    shards = publish(root, "shards", "b0", lambda folder: shutil.copytree(made, folder, dirs_exist_ok=True))
    location = shards.directory.relative_to(root).as_posix()
    sha256 = {name: file.sha256 for name, file in shards.manifest.files.items()}
    shard_set = ShardSet(Path(str(shards.directory)), location, sha256)
    settings = DatasetSettings.model_validate({"splits": {"test_pattern": "berta", "minimum_identities": 0}})
    publish(
        root,
        DATASET,
        WHOLE,
        lambda folder: make_dataset({"b0": shard_set}, PreviousDataset({}), settings, folder),
    )
    return root


@pytest.fixture(scope="module")
def exported(root: UPath, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "corpus"
    assert export_dataset(root, folder).samples == {"train": 1, "test": 1}
    return folder


def test_samples_of_all_splits_have_the_same_members(exported: Path) -> None:
    members = {}
    for split in ("train", "test"):
        table = pq.read_table(exported / "index" / f"{split}.parquet")
        assert table.schema.equals(HUB_INDEX_SCHEMA)
        (row,) = table.to_pylist()
        assert (row["split"], row["tar"]) == (split, f"data/{split}-00000.tar")
        place = Place(row["offset_bytes"], row["size_bytes"])
        members[split] = read_members(exported / row["tar"], place).keys()
    assert members["train"] == members["test"]


def test_frames_labels_and_anchors_are_unchanged(exported: Path, samples: list[ClipSample]) -> None:
    (row,) = pq.read_table(exported / "index" / "train.parquet").to_pylist()
    members = read_members(exported / row["tar"], Place(row["offset_bytes"], row["size_bytes"]))
    with av.open(io.BytesIO(members["video.mp4"]), "r") as container:
        assert container.streams.video[0].average_rate == 25
        frames = tuple(bytes(packet) for packet in container.demux(video=0) if packet.size)
    assert frames == samples[0].clip.frames_jpeg
    assert np.array_equal(decode_array("anna", members, "pose.npy"), samples[0].labels.pose)
    with tarfile.open(fileobj=io.BytesIO(members["anchors.tar"])) as tar:
        assert tar.getnames() == ["anchors.00.eyes.jpg", "anchors.00.jpg", "anchors.json"]


def test_exporting_again_gives_the_same_bytes(root: UPath, exported: Path, tmp_path: Path) -> None:
    export_dataset(root, tmp_path / "again")
    files = sorted(path.relative_to(exported) for path in exported.rglob("*") if path.is_file())
    assert len(files) == 2 + 2 + 1
    assert all((tmp_path / "again" / file).read_bytes() == (exported / file).read_bytes() for file in files)


def test_front_matter_names_every_split_and_feature(exported: Path) -> None:
    text = (exported / README).read_text("utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    (config,) = front["configs"]
    assert config["data_files"] == [
        {"split": "train", "path": "data/train-*.tar"},
        {"split": "test", "path": "data/test-*.tar"},
    ]
    names = [feature["name"] for feature in front["dataset_info"]["features"]]
    assert names[-2:] == ["__key__", "__url__"]
    assert "## Terms" in text
    assert "![" not in text


def test_datasets_opens_the_folder(
    exported: Path, samples: list[ClipSample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    loaded = datasets.load_dataset(str(exported), cache_dir=str(tmp_path))
    assert {split: len(part) for split, part in loaded.items()} == {"train": 1, "test": 1}
    sample = loaded["train"][0]
    assert sample["meta.json"]["identity"] == "anna"
    assert np.array_equal(np.array(sample["pose.npy"], np.float32), samples[0].labels.pose)
    streamed = datasets.load_dataset(str(exported), split="test", streaming=True)
    assert next(iter(streamed))["meta.json"]["identity"] == "berta"


def test_folder_with_files_is_refused(root: UPath, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="is not an empty folder; choose another"):
        export_dataset(root, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_root_without_data_set_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no data set under .*: run pdfgc preprocess FOLDER first"):
        export_dataset(UPath(tmp_path / "root"), tmp_path / "out")
