"""A root in a bucket with shards and a data set."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from preprocessing.schema import INDEX_TABLE
from storage.publishing import BuildReport, Input, Recipe, materialise
from storage.root import open_root
from tests.factories.training.data import make_data_set


def publish_remotely(bucket: str, made: Path) -> UPath:
    """Publish the shards and the data set of a local folder in the bucket; the index names where they are."""
    data_set = make_data_set(made, with_checksums=True)
    root = open_root(f"{bucket}/root")

    def copy_shards(folder: Path) -> BuildReport:
        for file in (made / "assets").glob("shard-*"):
            (folder / file.name).write_bytes(file.read_bytes())
        return BuildReport({}, {})

    shards = materialise(root, Recipe("shards", "b0", "1", {}, {}), copy_shards)
    location = shards.directory.relative_to(root).as_posix()

    def copy_data_set(folder: Path) -> BuildReport:
        for file in data_set.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        table = pq.read_table(data_set / INDEX_TABLE)
        moved = [f"{location}/{Path(name).name}" for name in table["shard"].to_pylist()]
        number = table.schema.get_field_index("shard")
        pq.write_table(table.set_column(number, table.field("shard"), pa.array(moved)), folder / INDEX_TABLE)
        return BuildReport({}, {})

    inputs = {"b0": Input(shards.manifest.content_digest, location)}
    materialise(root, Recipe("dataset", "whole", "1", {}, inputs), copy_data_set)
    return root
