"""Columns of our Parquet tables as Dagster shows them."""

import pyarrow as pa
from dagster import TableColumn, TableSchema


def column_schema(schema: pa.Schema) -> TableSchema:
    """Dagster's column schema of a table, with our descriptions."""
    columns = []
    for column in schema:
        description = (column.metadata or {}).get(b"description", b"").decode()
        columns.append(TableColumn(column.name, str(column.type), description))
    return TableSchema(columns)
