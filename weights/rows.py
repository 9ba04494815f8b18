"""What fetching and finding want to know of a set of weights; `weights.catalog` holds the list itself.

Storage stands below the networks and does not import them, so it says here what a row of theirs has.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

FetchProgress = Callable[[str, int, int | None], None]
"""Takes a file's name, bytes that are here, and of how many (None: not known), while it is fetched."""


@runtime_checkable
class LicenceRow(Protocol):
    """Terms of use."""

    @property
    def name(self) -> str:
        """SPDX identifier where there is one."""
        ...

    @property
    def link(self) -> str:
        """Where its text stands."""
        ...

    @property
    def commercial(self) -> Literal["yes", "no", "unclear"]:
        """Whether commercial use is allowed; anything but `yes` must be accepted by name."""
        ...

    @property
    def terms(self) -> str:
        """One sentence that a person is shown before accepting."""
        ...


@runtime_checkable
class FileRow(Protocol):
    """One file."""

    @property
    def name(self) -> str:
        """Under which it lies in the folder of its set."""
        ...

    @property
    def other_names(self) -> Sequence[str]:
        """Under which it is handed out too."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """None: not known."""
        ...

    @property
    def sha256(self) -> str | None:
        """64 hex digits; None: not known, the first file used is held against later ones."""
        ...

    @property
    def url(self) -> str | None:
        """None: in the archive, or got by hand."""
        ...


@runtime_checkable
class ArchiveRow(Protocol):
    """A zip or tar that holds a set's files."""

    @property
    def name(self) -> str:
        """Of the file."""
        ...

    @property
    def size_bytes(self) -> int | None:
        """None: not known."""
        ...

    @property
    def sha256(self) -> str | None:
        """64 hex digits; None: not known."""
        ...

    @property
    def url(self) -> str | None:
        """None: got by hand from the set's page."""
        ...


@runtime_checkable
class WeightsRow(Protocol):
    """A set of weights: files that belong together."""

    @property
    def name(self) -> str:
        """Also of its folder."""
        ...

    @property
    def page(self) -> str:
        """The authors'."""
        ...

    @property
    def licence(self) -> LicenceRow:
        """Terms of use."""
        ...

    @property
    def files(self) -> Sequence[FileRow]:
        """At least one."""
        ...

    @property
    def by_hand(self) -> bool:
        """Whether only a person can get it."""
        ...

    @property
    def archive(self) -> ArchiveRow | None:
        """None: the files are handed out one by one."""
        ...
