import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from preprocessing.schema import INDEX_TABLE
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
        "import training.data.augmentation.pictures; "
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


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("shard", "../outside.tar", "shard '../outside.tar' is not a path below the root"),
        ("shard", "/etc/passwd", "shard '/etc/passwd' is not a path below the root"),
        ("key", "clip-01", "1 clips occur more than once"),
        ("key", "a.b", "a key that must match"),
        ("frames", 65, "frames outside 1 to 64, in 1 rows"),
        ("anchors", -1, "a negative number of anchors"),
        ("offset_bytes", -512, "a place that is none of a tar"),
        ("size_bytes", 0, "a size that is none of a sample"),
        ("split", "both", "an unknown split"),
        ("identity", None, "1 rows without identity"),
    ],
)
def test_entries_that_cannot_be_are_refused(tmp_path: Path, column: str, value: object, message: str) -> None:
    folder = make_data_set(tmp_path)
    table = pq.read_table(folder / INDEX_TABLE)
    values = [value, *table[column].to_pylist()[1:]]
    place = table.schema.get_field_index(column)
    changed = table.set_column(place, table.field(column), pa.array(values, table.field(column).type))
    pq.write_table(changed, folder / INDEX_TABLE)
    with pytest.raises(ValueError, match=re.escape(f"{folder / INDEX_TABLE}: ") + f".*{re.escape(message)}"):
        read_clip_index(folder, tmp_path, "train")


def test_damaged_index_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    folder = make_data_set(tmp_path)
    path = folder / INDEX_TABLE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"index\.parquet cannot be read: .*; run: pdfgc repair$"):
        read_clip_index(folder, tmp_path, "train")
    pq.write_table(pa.table({"key": ["a"]}), path)
    with pytest.raises(ValueError, match=r"index\.parquet cannot be read: .*identity"):
        read_clip_index(folder, tmp_path, "train")
    (folder / "statistics.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"statistics\.json is damaged: RecursionError"):
        read_clip_index(folder, tmp_path, "train")
