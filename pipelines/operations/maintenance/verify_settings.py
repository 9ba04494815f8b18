"""Settings of verification."""

from pydantic import Field

from storage.settings import Settings


class VerifySettings(Settings):
    """How much is read."""

    threads: int = Field(default=4, ge=1, le=256, description="Files read at once")


class NightlyVerifySettings(VerifySettings):
    """What the job reads."""

    read_data: float = Field(
        default=0.05,
        ge=0.0,
        le=1.0,
        description="Share of the files whose sha256 is computed again, chosen by the day: 0.05 reads all "
        "within 20 days; 0 reads none",
    )
