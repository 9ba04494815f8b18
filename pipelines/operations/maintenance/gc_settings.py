"""Settings of garbage collection."""

from pydantic import Field

from storage.settings import Settings


class GcSettings(Settings):
    """What garbage collection keeps."""

    keep_days: float = Field(
        default=7.0,
        ge=0.0,
        le=36500.0,
        description="Days to keep superseded and unfinished builds, which running jobs may still read",
    )
    keep_baselines: int = Field(
        default=2,
        ge=1,
        description="Number of the last baseline runs whose report, weights and data set are kept",
    )
