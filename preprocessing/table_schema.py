"""Schemas of tables whose columns have descriptions."""

import pyarrow as pa


def column(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column with a description, which the Parquet file keeps and Dagster's UI shows."""
    return pa.field(name, kind, metadata={"description": description})


def table_schema(*columns: pa.Field) -> pa.Schema:
    """A table's schema."""
    return pa.schema(columns)
