"""Errors of the disk that a user can mend: full, read-only, not permitted; one line with path and remedy."""

import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from typing_extensions import override

from storage.printable import display_text

# Not storage.atomic's, which imports this module.
PARTIAL_MARK: Final = ".partial-"
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
REMEDIES: Final = {
    errno.ENOSPC: "no space left on the disk ({free}): free some (pdfgc gc lists what is not needed), then "
    "run it again; finished parts are kept",
    errno.EDQUOT: "the disk quota of user {user} is used up: free some space (pdfgc gc lists what is not "
    "needed), then run it again; finished parts are kept",
    errno.EROFS: "the disk is read-only: mount it writable or choose another place, then run it again",
    errno.EACCES: "user {user} has no permission: change the owner or mode, or choose another place, then "
    "run it again",
    errno.EPERM: "the system does not permit it to user {user}: change the owner, mode or attributes, or "
    "choose another place, then run it again",
}
"""What is wrong and what to do, by error number."""


class DiskError(OSError):
    """A disk that is full, read-only or not permitted; `errno` says which, `filename` where."""

    @override
    def __str__(self) -> str:
        """The path, what is wrong and what to do."""
        return f"{self.filename}: {self.strerror}"


@contextmanager
def disk_errors_at(path: str | os.PathLike[str]) -> Generator[None, None, None]:
    """Raise errors of the disk in the block as `DiskError`.

    Args:
        path: what is being written; shown where the error does not say which file it is about, as errors of
            `write` do not.

    Raises:
        DiskError: the disk is full, read-only or not permitted.
    """
    try:
        yield
    except OSError as error:
        explained = disk_error(error, path)
        if explained is None:
            raise
        raise explained from error


def disk_error(error: OSError, path: str | os.PathLike[str]) -> DiskError | None:
    """`error` with path and remedy; None if it is another error, or is one already."""
    if isinstance(error, DiskError) or error.errno not in REMEDIES:
        return None
    named = str(error.filename or "")
    where = named if named and PARTIAL_MARK not in named else os.fspath(path)
    remedy = REMEDIES[error.errno].format(free=_free_text(Path(where)), user=os.geteuid())
    return DiskError(error.errno, remedy, display_text(where))


def _free_text(path: Path) -> str:
    """Free space at a path or, where it does not exist, at its nearest existing parent."""
    existing = next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))
    return f"{shutil.disk_usage(existing).free / 2**20:.1f} MiB are free"
