import json
import subprocess
import sys
from pathlib import Path

import pytest
from upath import UPath

from storage.publishing import BuildReport, Recipe, materialise
from tests.conftest import REPOSITORY
from tests.factories.training.data import READER, MadeClip, make_data_set
from training.data.index import open_current, read_clip_index
from training.data.shard_reader import ShardReader


def test_other_schema_version_is_rejected(tmp_path: Path) -> None:
    folder = make_data_set(tmp_path)
    (folder / "statistics.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(ValueError, match="schema version 99, this code reads 2"):
        read_clip_index(folder, tmp_path, "train")


def test_empty_split_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clip in split test; the data set has 7"):
        read_clip_index(make_data_set(tmp_path), tmp_path, "test")


def test_identity_in_two_splits_is_rejected(tmp_path: Path) -> None:
    folder = make_data_set(tmp_path, [MadeClip("anna", "train", 0, 3), MadeClip("anna", "test", 0, 3)])
    with pytest.raises(ValueError, match="identity 'anna' is in train and in test"):
        read_clip_index(folder, tmp_path, "train")


def test_open_current_reads_the_published_data_set(tmp_path: Path) -> None:
    def build(folder: Path) -> BuildReport:
        data_set = make_data_set(tmp_path / "made")
        for file in data_set.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        return BuildReport({}, {})

    root = UPath(tmp_path / "root")
    with pytest.raises(ValueError, match="no data set is published"):
        open_current(root, "train")
    materialise(root, Recipe("dataset", "whole", "1", {}, {}), build)
    for shard in (tmp_path / "made/assets").glob("*.tar"):
        shard.rename(tmp_path / "root/assets" / shard.name)
    index = open_current(root, "train")
    assert len(index) == 5
    assert ShardReader(index, READER).frames(4, [9])[0].shape == (3, 32, 32)


def test_import_loads_no_heavy_packages() -> None:
    code = (
        "import sys, training.data.loader, training.data.lip_windows, training.data.eye_anchors; "
        "import training.data.augmentation; "
        "print([name for name in ('dagster', 'mediapipe', 'webdataset', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_last_clips_are_held_out_where_every_person_is_trained_on(tmp_path: Path) -> None:
    clips = [MadeClip("anna", "train", 0, 3, ("anna",))] * 11 + [MadeClip("bert", "train", 0, 3)] * 3
    folder = make_data_set(tmp_path, [*clips, MadeClip("carl", "train", 0, 3)])
    train, held_out = (read_clip_index(folder, tmp_path, split) for split in ("train", "held_out_clips"))
    assert [held_out.key(clip) for clip in range(len(held_out))] == ["clip-09", "clip-10", "clip-13"]
    assert len(train) == 12
    assert (held_out.people, train.people) == ("train", "train")


def test_no_clip_is_held_out_beside_held_out_people(tmp_path: Path) -> None:
    folder = make_data_set(tmp_path)
    with pytest.raises(ValueError, match="no clip in split held_out_clips"):
        read_clip_index(folder, tmp_path, "held_out_clips")
    assert len(read_clip_index(folder, tmp_path, "train")) == 5
