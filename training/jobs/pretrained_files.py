"""The files of outside networks that a training choice names."""

from pathlib import Path
from typing import Final

from training.jobs.config import TrainingChoice
from training.stage_catalog import PRETRAINED_SETTINGS, RELEASED_SETTING, stage_info
from weights.catalog import PRETRAINED
from weights.folder import find_files, remembered_sha256, weights_folder
from weights.resolve import OutsideFile, licence_record, outside_file

RELEASED_NAME: Final = "pdfgc_official"


def outside_files(stage: str, choice: TrainingChoice) -> tuple[OutsideFile, ...]:
    """Those that are part of a stage's recipe, verified.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: one is not what it should be, or its licence was not accepted.
    """
    return _files(stage_info(stage).pretrained, choice)


def require_outside_files(choice: TrainingChoice) -> None:
    """Hold every file that is named to be there, whichever stage it is for: better now than stages later.

    Raises as `outside_files`.
    """
    _files(PRETRAINED_SETTINGS, choice)


def _files(settings: tuple[str, ...], choice: TrainingChoice) -> tuple[OutsideFile, ...]:
    found = [
        outside_file(getattr(choice, setting), setting) for setting in settings if setting != RELEASED_SETTING
    ]
    released = released_files(choice.start_from) if RELEASED_SETTING in settings else ()
    return (*(file for file in found if file is not None), *released)


def released_files(told: str) -> tuple[OutsideFile, ...]:
    """The four released files, by their name in the list or a folder's path; none where it is empty.

    Raises:
        FileNotFoundError: one is not there.
        ValueError: another set is named, or a file is not what it should be.
    """
    if not told:
        return ()
    if told == RELEASED_NAME:
        record = licence_record(told)
        files = find_files(PRETRAINED[told], weights_folder())
        return tuple(OutsideFile(RELEASED_SETTING, f.path, f.sha256, told, record) for f in files)
    if told in PRETRAINED:
        raise ValueError(f"{RELEASED_SETTING} does not take {told}; it takes {RELEASED_NAME}")
    folder = Path(told).expanduser()
    paths = [_one_of(folder, (row.name, *row.other_names)) for row in PRETRAINED[RELEASED_NAME].files]
    return tuple(OutsideFile(RELEASED_SETTING, p, remembered_sha256(p), None, None) for p in paths)


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{RELEASED_SETTING}: no {' or '.join(names)} in {folder}, and no weights of that name; it takes "
        f"{RELEASED_NAME}"
    )
