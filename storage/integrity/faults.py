"""What `pdfgc verify` finds: one fault for each file that is not as it was written."""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from storage.printable import display_text

Kind = Literal[
    "pointer",
    "manifest",
    "file",
    "input",
    "catalog",
    "dataset",
    "source",
    "record",
    "checkpoint",
    "copy",
    "weights",
    "suspect",
]
REPAIR: Final = "pdfgc repair"
NOTHING: Final = "nothing"
AFFECTED_SHOWN: Final = 4
SHOWN_DIGITS: Final = 16  # of a sha256


@dataclass(frozen=True)
class Fault:
    """Something that is not as it was written.

    Attributes:
        kind: What it is.
        path: Below the root, or absolute where it lies elsewhere.
        expected: What was recorded.
        found: What is there.
        mend: The command that mends it.
        affects: What was made from it, as `asset/partition` or in words.
        build: Location of the build that it belongs to; empty: none.
    """

    kind: Kind
    path: str
    expected: str
    found: str
    mend: str = REPAIR
    affects: tuple[str, ...] = ()
    build: str = ""

    def line(self) -> str:
        """The fault on one line."""
        more = len(self.affects) - AFFECTED_SHOWN
        affected = ", ".join(self.affects[:AFFECTED_SHOWN]) or NOTHING
        if more > 0:
            affected += f" and {more} more"
        return display_text(
            f"{self.path}: expected {self.expected}, found {self.found}; affects {affected}; "
            f"mend: {self.mend}"
        )

    def as_json(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {
            "kind": self.kind,
            "path": self.path,
            "expected": self.expected,
            "found": self.found,
            "affects": list(self.affects),
            "mend": self.mend,
        }

    def affecting(self, affects: tuple[str, ...]) -> "Fault":
        """The fault, with what was made from it."""
        return replace(self, affects=affects)


def sha256_text(digest: str) -> str:
    """A sha256 as faults show it."""
    return f"sha256 {digest[:SHOWN_DIGITS]}" if digest else NOTHING
