"""Rows of a table by the value of a column.

`Table.filter` with an expression loads Acero and with it pandas, a second at the start of every process; with
a mask it does not.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def rows_equal(table: pa.Table, column: str, value: Any) -> pa.Table:
    """The rows whose column has this value."""
    return table.filter(pc.call_function("equal", [table[column], pa.scalar(value)]))


def rows_unequal(table: pa.Table, column: str, value: Any) -> pa.Table:
    """The rows whose column has another value, not null."""
    return table.filter(pc.call_function("not_equal", [table[column], pa.scalar(value)]))


def rows_valid(table: pa.Table, column: str) -> pa.Table:
    """The rows whose column is not null."""
    return table.filter(pc.call_function("is_valid", [table[column]]))
