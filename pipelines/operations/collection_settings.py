"""What a deployment decides of collecting what nothing refers to."""

from pydantic import Field

from storage.settings import Settings


class CollectionSettings(Settings):
    """How long old builds stay, and what an accepted run keeps.

    Raises:
        ValueError: a value is out of its bounds.
    """

    keep_days: float = Field(
        default=7.0,
        ge=0.0,
        le=36500.0,
        description="Days to keep superseded and unfinished builds, which running jobs may still read",
    )
    keep_accepted: int = Field(
        default=2,
        ge=1,
        description="Number of baseline runs, the latest, whose weights, data set and evaluation are kept",
    )
