"""What a deployment decides of collecting what nothing refers to."""

from dataclasses import dataclass

from storage.settings import setting


@dataclass(frozen=True)
class CollectionSettings:
    """How long old builds stay, and what an accepted run keeps.

    Raises:
        ValueError: a value is out of its bounds.
    """

    keep_days: float = setting(
        7.0,
        "Days for which what was superseded or left by a killed build stays: jobs may still read it",
        minimum=0.0,
        maximum=36500.0,
    )
    keep_accepted: int = setting(
        2, "Of how many accepted runs, the last ones, weights, data set and evaluation stay", minimum=1
    )

    def __post_init__(self) -> None:
        if not 0 <= self.keep_days <= 36500 or self.keep_accepted < 1:
            raise ValueError(
                f"keep_days is {self.keep_days}, need 0 to 36500; "
                f"keep_accepted is {self.keep_accepted}, need 1 or more"
            )
