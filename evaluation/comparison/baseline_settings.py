"""Settings of the comparison with the baseline run."""

from pydantic import Field

from storage.settings import Settings


class BaselineSettings(Settings):
    """What counts as a regression against the baseline run."""

    tolerance: float = Field(
        default=0.05,
        ge=0.0,
        le=10.0,
        description="How much worse a mean may be, relative to the baseline run's mean",
    )
    metrics: str = Field(
        default="",
        description="Metrics to compare, separated by commas; empty: all that both runs have",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the compared metrics; empty: all."""
        return tuple(name.strip() for name in self.metrics.split(",") if name.strip())
