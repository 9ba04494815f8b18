"""Tables of published builds, read by columns; of a bucket the table alone is downloaded, not its build."""

from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from preprocessing.table_filters import rows_equal
from storage.objects import is_local, local_path, read_bytes
from storage.publishing import Published

compute: Final[Any] = pc  # most of its functions are made when it is imported, and have no types


def open_table(published: Published, name: str) -> pq.ParquetFile:
    """A Parquet file of a build; its rows are not read yet. Raises FileNotFoundError."""
    path = published.directory / name
    source: Any = local_path(path) if is_local(path) else pa.BufferReader(read_bytes(path))
    return pq.ParquetFile(source)


def read_columns(published: Published, name: str, columns: Sequence[str]) -> pa.Table:
    """Some columns of a table of a build."""
    with open_table(published, name) as file:
        return file.read(columns=list(columns))


def rows_of_key(
    published: Published, name: str, key: str, columns: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The rows of one clip, in their order; reads the groups of rows that may hold it."""
    wanted: list[dict[str, Any]] = []
    with open_table(published, name) as file:
        names = [*columns] or file.schema_arrow.names
        for group in _groups(file, key):
            table = file.read_row_group(group, columns=names if "key" in names else ["key", *names])
            wanted += rows_equal(table, "key", key).to_pylist()
    return wanted


def _groups(file: pq.ParquetFile, key: str) -> list[int]:
    """The groups of rows whose range of keys includes one."""
    place = file.schema_arrow.get_field_index("key")
    groups: list[int] = []
    for number in range(file.num_row_groups):
        statistics = file.metadata.row_group(number).column(place).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= key <= statistics.max:
            groups.append(number)
    return groups
