"""Fill a Dagster instance as after thousands of batches: one run of `preprocess`, copied row by row.

Dagster needs about 10 ms per event, and a run has about a hundred events: thousands of runs would take
hours. So one batch is run, and every row that it leaves in any table is inserted again with another run
id, another batch and a later time. The copies therefore contain exactly what our assets log.
"""

import json
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql
from dagster import DagsterInstance
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable

from pipelines.definitions import definitions
from pipelines.partitions import add_batches
from preprocessing.sources.stored_catalog import batch_keys
from storage.root import open_root

SECONDS_BETWEEN_RUNS: Final = 10
ROWS_AT_ONCE: Final = 2000
PICTURE: Final = "picture: "  # prefix of the titles of our pictures
# Columns with ids of rows in event_logs, including those rows' ids.
EVENT_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "event_logs": ("id",),
    "asset_event_tags": ("event_id",),
    "asset_check_executions": ("evaluation_event_storage_id", "materialization_event_storage_id"),
}
TIMES: Final = (
    *("timestamp", "event_timestamp", "evaluation_event_timestamp", "create_timestamp", "update_timestamp"),
    *("start_time", "end_time"),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class BatchRun:
    """A run of a batch."""

    run_id: str
    batch: str


def fill(instance: DagsterInstance, root: str, batches: int, *, with_pictures: bool) -> None:
    """Run the first batch of a root, which may be up to date, and copy the run `batches` - 1 times."""
    original = _run_first_batch(instance, root)
    if not with_pictures:
        _remove_pictures(instance, original)
    copies = [BatchRun(str(uuid.uuid4()), f"b{number:05d}-{number:08x}") for number in range(1, batches)]
    add_batches(instance, [copy.batch for copy in copies])
    with _runs(instance) as connection:
        for table in (RunsTable, RunTagsTable):
            _copy_rows(connection, table, original, copies, 0)
    with events(instance) as connection:
        span = _span_of_events(connection, original)
        for table in (SqlEventLogStorageTable, AssetEventTagsTable, AssetCheckExecutionsTable):
            _copy_rows(connection, table, original, copies, span)
        if copies:
            _move_latest(connection, original, copies[-1])
    if isinstance(instance.event_log_storage, SqliteEventLogStorage):
        _copy_shards(instance.event_log_storage, original, copies)


def _run_first_batch(instance: DagsterInstance, root: str) -> BatchRun:
    (batch, *_) = batch_keys(open_root(root))
    add_batches(instance, [batch])
    done = definitions.resolve_job_def("preprocess").execute_in_process(
        instance=instance,
        partition_key=batch,
        run_config={
            "resources": {"workspace": {"config": {"root": root}}},
            "loggers": {"plain": {"config": {"log_level": "ERROR"}}},
        },
    )
    return BatchRun(done.run_id, batch)


def _runs(instance: DagsterInstance) -> AbstractContextManager[sql.Connection]:
    """A connection to the tables of runs."""
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    return storage.connect()


def events(instance: DagsterInstance) -> AbstractContextManager[sql.Connection]:
    """A connection to the tables of events and assets; with SQLite, the index of all runs."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    return storage.index_connection()


def _rows_of(connection: sql.Connection, table: sql.Table, original: BatchRun) -> list[Row]:
    """All rows of the run in a table, by id."""
    if table is AssetEventTagsTable:
        events = sql.select(SqlEventLogStorageTable.c.id).where(
            SqlEventLogStorageTable.c.run_id == original.run_id
        )
        chosen = table.c.event_id.in_(events)
    else:
        chosen = table.c.run_id == original.run_id
    rows = connection.execute(sql.select(table).where(chosen).order_by(table.c.id))
    return [dict(row) for row in rows.mappings()]


def _span_of_events(connection: sql.Connection, original: BatchRun) -> int:
    ids = [row["id"] for row in _rows_of(connection, SqlEventLogStorageTable, original)]
    return max(ids) - min(ids) + 1


def _copy_rows(
    connection: sql.Connection,
    table: sql.Table,
    original: BatchRun,
    copies: Sequence[BatchRun],
    span: int,
) -> None:
    rows = _rows_of(connection, table, original)
    pending: list[Row] = []
    for number, copy in enumerate(copies, start=1):
        pending += [_copied(row, table.name, original, copy, number, span) for row in rows]
        if len(pending) >= ROWS_AT_ONCE or number == len(copies):
            connection.execute(table.insert(), pending)
            pending = []
    if table is SqlEventLogStorageTable and connection.dialect.name == "postgresql":
        # The ids were set here, so the database's sequence must continue after them.
        highest = sql.select(sql.func.max(table.c.id)).scalar_subquery()
        sequence = sql.func.pg_get_serial_sequence(table.name, "id")
        connection.execute(sql.select(sql.func.setval(sequence, highest)))


def _copied(row: Row, table: str, original: BatchRun, copy: BatchRun, number: int, span: int) -> Row:
    """A row with the copy's run, batch, ids and times."""
    event_ids = EVENT_IDS.get(table, ())
    new: Row = {}
    for column, value in row.items():
        if column in event_ids and value is not None:
            new[column] = value + number * span
        elif column == "id":
            continue  # set by the database
        elif column in TIMES and value is not None:
            new[column] = _later(value, number * SECONDS_BETWEEN_RUNS)
        elif isinstance(value, str):
            new[column] = value.replace(original.run_id, copy.run_id).replace(original.batch, copy.batch)
        else:
            new[column] = value
    return new


def _later(value: datetime | float, seconds: float) -> datetime | float:
    return value + timedelta(seconds=seconds) if isinstance(value, datetime) else value + seconds


def _move_latest(connection: sql.Connection, original: BatchRun, latest: BatchRun) -> None:
    """Set every asset's newest event to that of the last copy."""
    for row in connection.execute(sql.select(AssetKeyTable)).mappings().all():
        newest = str(row["last_materialization"])
        newest = newest.replace(original.run_id, latest.run_id).replace(original.batch, latest.batch)
        changed = AssetKeyTable.update().where(AssetKeyTable.c.id == row["id"])
        connection.execute(changed.values(last_materialization=newest, last_run_id=latest.run_id))


def _copy_shards(storage: SqliteEventLogStorage, original: BatchRun, copies: Sequence[BatchRun]) -> None:
    """Copy the log files: SQLite keeps one per run, beside the index of all runs."""
    source = Path(storage.path_for_shard(original.run_id))
    with storage.run_connection(original.run_id) as connection:
        connection.execute(sql.text("pragma wal_checkpoint(truncate)"))
    for copy in copies:
        target = Path(storage.path_for_shard(copy.run_id))
        shutil.copyfile(source, target)
        engine = sql.create_engine(f"sqlite:///{target}")
        with engine.begin() as connection:
            for row in _rows_of(connection, SqlEventLogStorageTable, original):
                new = _copied(row, "", original, copy, 0, 0)
                chosen = SqlEventLogStorageTable.c.id == row["id"]
                connection.execute(SqlEventLogStorageTable.update().where(chosen).values(**new))
        engine.dispose()


def _remove_pictures(instance: DagsterInstance, original: BatchRun) -> None:
    """Remove the pictures from the run's events, and shrink the files."""
    with events(instance) as connection:
        _strip(connection, SqlEventLogStorageTable, "event")
        _strip(connection, AssetKeyTable, "last_materialization")
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        with storage.run_connection(original.run_id) as connection:
            _strip(connection, SqlEventLogStorageTable, "event")
        for shard in ("index", original.run_id):
            engine = sql.create_engine(
                f"sqlite:///{storage.path_for_shard(shard)}", isolation_level="AUTOCOMMIT"
            )
            with engine.connect() as connection:
                connection.execute(sql.text("vacuum"))
            engine.dispose()


def _strip(connection: sql.Connection, table: sql.Table, column: str) -> None:
    for row in connection.execute(sql.select(table)).mappings().all():
        if PICTURE in str(row[column]):
            plain = json.dumps(_plain(json.loads(row[column])))
            connection.execute(table.update().where(table.c.id == row["id"]).values({column: plain}))


def _plain(value: Any) -> Any:
    """A serialised event without its pictures."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value if not _is_picture(entry)]
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value


def _is_picture(entry: Any) -> bool:
    return isinstance(entry, dict) and re.match(PICTURE, str(entry.get("label", ""))) is not None
