"""Tables whose columns say what they hold."""

import pyarrow as pa


def column(name: str, kind: pa.DataType, description: str) -> pa.Field:
    """A column with a description, kept in the Parquet file and shown in Dagster's UI."""
    return pa.field(name, kind, metadata={"description": description})


def table_schema(*columns: pa.Field) -> pa.Schema:
    """A table's schema."""
    return pa.schema(columns)
