"""Reading the catalog."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing.sources.catalog import ADDED_COLUMNS, CATALOG_SCHEMA, parse_catalog


def table_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_catalog_of_an_earlier_version_is_read() -> None:
    rows = [{"video_id": "a", "video_codec": "h264"}, {"video_id": "b"}]
    earlier = pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA).drop_columns(list(ADDED_COLUMNS))
    table = parse_catalog(table_bytes(earlier), "videos.parquet")
    assert table.schema.equals(CATALOG_SCHEMA)
    assert table["reading"].to_pylist() == ["", None]


def test_catalog_without_a_known_column_is_refused() -> None:
    table = pa.Table.from_pylist([{"video_id": "a"}], schema=CATALOG_SCHEMA).drop_columns(["batch"])
    with pytest.raises(ValueError, match=r"videos\.parquet has columns .* need "):
        parse_catalog(table_bytes(table), "videos.parquet")
