"""The files of outside weights that an evaluation's choice names."""

from typing import Final

from evaluation.config import EvaluationChoice
from weights.resolve import outside_file

OUTSIDE_SETTINGS: Final = (
    "syncnet_weights",
    "csim_weights",
    "lpips_weights",
    "fid_weights",
    "face_landmarker_weights",
)


def require_outside_files(choice: EvaluationChoice) -> None:
    """Hold every file that is named to be there, before videos are made: better now than minutes later.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: one is not what it should be, or its licence was not accepted.
    """
    for setting in OUTSIDE_SETTINGS:
        outside_file(getattr(choice, setting), setting)
