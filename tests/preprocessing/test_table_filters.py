import subprocess
import sys

import pyarrow as pa

from preprocessing.table_filters import rows_equal, rows_unequal, rows_valid

TABLE = pa.table({"name": ["a", "b", None, "a"], "number": [1, 2, 3, 4]})


def test_rows_by_value() -> None:
    assert rows_equal(TABLE, "name", "a")["number"].to_pylist() == [1, 4]
    assert rows_unequal(TABLE, "name", "a")["number"].to_pylist() == [2]
    assert rows_valid(TABLE, "name")["number"].to_pylist() == [1, 2, 4]


def test_pandas_is_not_loaded() -> None:
    code = (
        "import sys, pyarrow as pa; from preprocessing.table_filters import rows_equal\n"
        "table = pa.RecordBatch.from_pydict({'a': pa.nulls(2, pa.string())})\n"
        "rows_equal(pa.Table.from_batches([table]), 'a', 'x')\n"
        "assert 'pyarrow.acero' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
