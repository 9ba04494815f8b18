"""The files of outside networks that a training choice names."""

from training.choice import OUTSIDE_SETTINGS, TrainingChoice, outside_settings
from training.outside_weights import OutsideFile, outside_file


def outside_files(stage: str, choice: TrainingChoice) -> tuple[OutsideFile, ...]:
    """Those that are part of a stage's recipe, verified.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: one is not what it should be, or its licence was not accepted.
    """
    return _files(outside_settings(stage), choice)


def require_outside_files(choice: TrainingChoice) -> None:
    """Hold every file that is named to be there, whichever stage it is for: better now than stages later.

    Raises as `outside_files`.
    """
    _files(OUTSIDE_SETTINGS, choice)


def _files(settings: tuple[str, ...], choice: TrainingChoice) -> tuple[OutsideFile, ...]:
    found = (outside_file(getattr(choice, setting), setting) for setting in settings)
    return tuple(file for file in found if file is not None)
