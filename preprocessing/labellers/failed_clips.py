"""Clips of a step that ended with an exception: each is a row of the step, and the others go on."""

import logging
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from preprocessing.common_failure import common_error, common_failure
from preprocessing.sources.catalog import FAILED
from preprocessing.table_schema import column, table_schema

logger = logging.getLogger(__name__)

FAILED_TABLE: Final = "failed_clips.parquet"
FAILED_SCHEMA: Final = table_schema(
    column("key", pa.string(), "clip's key"),
    column("detail", pa.string(), "the exception, in one line"),
)


class FailedClips:
    """Collects the exceptions of one step's clips.

    Args:
        work: what failed, for the log: `Labelling the pose`.
    """

    def __init__(self, work: str) -> None:
        self._work = work
        self._details: dict[str, str] = {}

    @contextmanager
    def caught(self, key: str) -> Generator[None]:
        """Within, an exception is that of a clip: it is kept, and the block left.

        Raises:
            OSError: as `add`.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001  (the one place of these steps: a clip must not end the work on others)
            self.add(key, error)

    def add(self, key: str, error: Exception) -> None:
        """Log an exception of a clip, and keep it.

        Raises:
            OSError: the exception itself, where it is of the file system and not of the clip.
        """
        if isinstance(error, OSError):
            raise error
        logger.error("%s of %s failed\n%s", self._work, key, "".join(traceback.format_exception(error)))
        message = " ".join(str(error).split())
        self._details[key] = f"{type(error).__name__}: {message}" if message else type(error).__name__

    def skip(self, failed_before: Mapping[str, str]) -> None:
        """Keep clips that failed in the steps before: there is nothing to do for them here."""
        self._details |= failed_before

    def __contains__(self, key: str) -> bool:
        return key in self._details

    def finish(self, folder: Path, labelled: int) -> dict[str, int]:
        """Write `failed_clips.parquet` where there are any; returns the refusals by reason.

        Args:
            folder: of the step.
            labelled: number of clips that did not fail.

        Raises:
            RuntimeError: every clip failed with one and the same exception.
        """
        if not self._details:
            return {}
        details = [detail.replace(key, "") for key, detail in self._details.items()]
        if labelled == 0 and (failure := common_failure(details)):
            raise common_error(failure, len(details), "clips")
        rows = [{"key": key, "detail": detail} for key, detail in sorted(self._details.items())]
        pq.write_table(pa.Table.from_pylist(rows, schema=FAILED_SCHEMA), folder / FAILED_TABLE)
        return {FAILED: len(rows)}


def read_failed(folder: Path) -> dict[str, str]:
    """Key -> exception of the clips that failed in a step; {} where none did."""
    path = folder / FAILED_TABLE
    if not path.is_file():
        return {}
    table = pq.read_table(path, schema=FAILED_SCHEMA)
    return dict(zip(table["key"].to_pylist(), table["detail"].to_pylist(), strict=True))
