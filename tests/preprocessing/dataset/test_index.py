"""How much of a data set is new."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from preprocessing.dataset.index import (
    DATASET,
    INDEX_SCHEMA,
    SHARDS_SCHEMA,
    SHARDS_TABLE,
    WHOLE,
    changed_share,
)
from preprocessing.schema import INDEX_TABLE
from storage.manifest import Input
from storage.publishing import BuildReport, Recipe, materialise
from storage.root import open_root


def publish(root: UPath, shards: dict[str, tuple[str, list[str]]]) -> Input:
    """A data set of shards, each a content and the keys of its samples."""

    def build(folder: Path) -> BuildReport:
        rows = [{"key": key, "shard": name} for name, (_, keys) in shards.items() for key in keys]
        pq.write_table(pa.Table.from_pylist(rows, schema=INDEX_SCHEMA), folder / INDEX_TABLE)
        tars = [{"shard": name, "sha256": content} for name, (content, _) in shards.items()]
        pq.write_table(pa.Table.from_pylist(tars, schema=SHARDS_SCHEMA), folder / SHARDS_TABLE)
        return BuildReport({}, {})

    recipe = Recipe(DATASET, WHOLE, "1", {}, {name: Input(content) for name, (content, _) in shards.items()})
    return materialise(root, recipe, build).as_input()


def test_changed_share_counts_new_and_changed_samples(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    first = publish(root, {"a.tar": ("1", ["a0", "a1"]), "b.tar": ("2", ["b0", "b1"])})
    assert changed_share(root, first) == 0.0
    second = publish(
        root, {"a.tar": ("1", ["a0", "a1"]), "b.tar": ("2", ["b0", "b1"]), "c.tar": ("3", ["c0"])}
    )
    assert changed_share(root, first) == pytest.approx(1 / 5)
    publish(root, {"a.tar": ("1", ["a0", "a1"]), "b.tar": ("4", ["b0", "b1"]), "c.tar": ("3", ["c0"])})
    assert changed_share(root, second) == pytest.approx(2 / 5)


def test_changed_share_ignores_moved_shards(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    first = publish(root, {"old/a.tar": ("1", ["a0"])})
    publish(root, {"new/a.tar": ("1", ["a0"])})
    assert changed_share(root, first) == 0.0


def test_changed_share_of_a_removed_data_set_is_one(tmp_path: Path) -> None:
    root = open_root(str(tmp_path))
    publish(root, {"a.tar": ("1", ["a0"])})
    removed = Input("0" * 64, "assets/dataset/whole/0-0")
    assert changed_share(root, removed) == 1.0
    with pytest.raises(ValueError, match="no data set under"):
        changed_share(open_root(str(tmp_path / "other")), removed)
