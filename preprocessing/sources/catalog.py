"""The catalog's table: its columns, its rows as a dataclass, its file."""

from dataclasses import dataclass, fields
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.sources.probe import SourceFacts
from preprocessing.table_schema import column, table_schema

ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
DUPLICATE: Final = "duplicate"
FAILED: Final = "failed"

CATALOG_SCHEMA: Final = table_schema(
    column("video_id", pa.string(), "first 16 hex digits of the content's sha256; one accepted row each"),
    column("sha256", pa.string(), "sha256 of the file's content, hex; empty if it could not be read"),
    column("path", pa.string(), "absolute path of the file when last seen"),
    column("relative_path", pa.string(), "path below the scanned folder, forward slashes"),
    column("root", pa.string(), "the scanned folder, absolute"),
    column("identity", pa.string(), "the person: first folder below the root, or the file's stem"),
    column("size_bytes", pa.int64(), "size of the file"),
    column("modified_ns", pa.int64(), "modification time of the file, nanoseconds since 1970"),
    column("present", pa.bool_(), "whether the last scan of its root found the file"),
    column(
        "status",
        pa.string(),
        "accepted; refused; duplicate (same content as an accepted row); failed (its reading was ended "
        "by an error that no rule foresees, or by a limit)",
    ),
    column("reason", pa.string(), "short code of the refusal; empty if accepted"),
    column("detail", pa.string(), "the refusal in a sentence, with values; empty if accepted"),
    column("batch", pa.string(), "key of the batch (Dagster partition); null if in none"),
    column("probe_key", pa.string(), "version and settings of the probe that judged the file"),
    column("duration_seconds", pa.float64(), "earlier start to later end of picture and sound"),
    column("width_px", pa.int32(), "displayed width: rotation and pixel aspect applied"),
    column("height_px", pa.int32(), "displayed height"),
    column("rotation_degrees", pa.int32(), "counter-clockwise turn that a player applies"),
    column("frame_count", pa.int64(), "pictures in the source"),
    column("average_fps", pa.float64(), "pictures per second on the whole"),
    column("variable_rate", pa.bool_(), "whether picture intervals differ by more than 10 % and 2 ms"),
    column("video_codec", pa.string(), "FFmpeg's name of the picture's codec"),
    column("audio_codec", pa.string(), "FFmpeg's name of the sound's codec"),
    column("sample_rate_hz", pa.int32(), "of the source's sound"),
    column("channels", pa.int32(), "of the source's sound"),
    column("video_start_seconds", pa.float64(), "start of the picture on the file's clock"),
    column("audio_start_seconds", pa.float64(), "start of the sound on the file's clock"),
    column(
        "reading",
        pa.string(),
        "what is special about how it is read: streams chosen of several, colours mapped; else empty",
    ),
)
ADDED_COLUMNS: Final = ("reading",)  # by later versions, each at the end


@dataclass(frozen=True)
class CatalogRow:
    """One row of the catalog; the columns are described in `CATALOG_SCHEMA`."""

    video_id: str
    sha256: str
    path: str
    relative_path: str
    root: str
    identity: str
    size_bytes: int
    modified_ns: int
    present: bool
    status: str
    reason: str
    detail: str
    batch: str | None
    probe_key: str
    facts: SourceFacts | None  # None unless the probe accepted the file

    @property
    def is_processed(self) -> bool:
        """Whether the pipeline processes this video: accepted, and its file present."""
        return self.status == ACCEPTED and self.present


FACT_NAMES: Final = tuple(fact.name for fact in fields(SourceFacts))
NO_FACTS: Final = dict.fromkeys(FACT_NAMES)


def rows_of(table: pa.Table) -> list[CatalogRow]:
    """The rows of a table of `CATALOG_SCHEMA`."""
    rows: list[CatalogRow] = []
    for record in table.to_pylist():
        values = {name: record.pop(name) for name in FACT_NAMES}
        facts = SourceFacts(**values) if values["video_codec"] is not None else None
        rows.append(CatalogRow(**record, facts=facts))
    return rows


def table_of(rows: list[CatalogRow]) -> pa.Table:
    """A table of `CATALOG_SCHEMA`, rows in the order given."""
    return pa.Table.from_pylist([_record_of(row) for row in rows], schema=CATALOG_SCHEMA)


def parse_catalog(data: bytes, shown: str) -> pa.Table:
    """The table of a catalog's bytes.

    Args:
        data: of the file.
        shown: its name in errors.

    Raises:
        ValueError: they are no Parquet, or its columns are not those of `CATALOG_SCHEMA`.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{shown} is damaged: it cannot be read ({reason}); run: pdfgc repair") from error
    table = _with_added_columns(table)
    if not table.schema.equals(CATALOG_SCHEMA):
        raise ValueError(f"{shown} has columns {table.schema.names}, need {CATALOG_SCHEMA.names}")
    return table


def _with_added_columns(table: pa.Table) -> pa.Table:
    """A catalog of an earlier version with the columns added since, empty where a probe is stored."""
    for name in ADDED_COLUMNS:
        if name not in table.column_names and "video_codec" in table.column_names:
            values = ["" if codec is not None else None for codec in table["video_codec"].to_pylist()]
            table = table.append_column(CATALOG_SCHEMA.field(name), pa.array(values, pa.string()))
    return table


def _record_of(row: CatalogRow) -> dict[str, Any]:
    # Not `asdict`, whose deep copies cost more than the rest of a scan of known files.
    record = dict(vars(row))
    facts = record.pop("facts")
    return record | (vars(facts) if facts is not None else NO_FACTS)
