"""Outside weights by their name in the list: where they lie, and what is published of whose they are.

A setting takes a set's name or a path of one's own. Imports neither torch nor what speaks to the network
until something is fetched.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from storage.atomic import write_atomically
from weights.catalog import PRETRAINED, PretrainedWeights, file_for_setting, pretrained_named
from weights.folder import (
    SNIFFED_BYTES,
    FoundFile,
    find_file,
    find_files,
    refuse_cut_zip,
    refuse_web_page,
    remembered_sha256,
    weights_folder,
)
from weights.licences import Acceptance, accept, require_acceptance
from weights.rows import FetchProgress

OUTSIDE_WEIGHTS_NAME: Final = "outside_weights.json"


@dataclass(frozen=True)
class LicenceRecord:
    """What a manifest keeps of a set of weights."""

    name: str
    licence: str
    link: str
    commercial: str  # yes, no or unclear
    acceptance: Acceptance | None  # None: none is needed
    sha256: dict[str, str]  # of each file that is used


@dataclass(frozen=True)
class OutsideFile:
    """A file that a setting names."""

    setting: str
    path: Path
    sha256: str  # 64 hex digits
    weights: str | None  # name in the list; None: a path was given
    record: LicenceRecord | None  # None: a path was given, and whose file it is nobody said


def find_weights(name: str) -> Path:
    """A set's file, or the folder of its files where they are several; verified.

    Raises:
        FileNotFoundError: it is not there; what, from where, on which terms, into which folder, by which
            command.
        ValueError: no such name, its licence was not accepted, or a file is not what it should be.
    """
    files = find_files(pretrained_named(name), weights_folder())
    return files[0].path if len(files) == 1 else weights_folder() / name


def licence_record(name: str) -> LicenceRecord:
    """What a manifest keeps of a whole set. Raises as `find_weights`."""
    weights = pretrained_named(name)
    return _record(weights, find_files(weights, weights_folder()))


def outside_file(told: str, setting: str) -> OutsideFile | None:
    """The file that a setting means by a name of the list or by a path; None where it is empty.

    Args:
        told: the setting's value.
        setting: its name.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: the setting does not take that set, its licence was not accepted, or the file is not what
            it should be.
    """
    if not told:
        return None
    if told in PRETRAINED:
        weights = pretrained_named(told)
        found = find_file(weights, file_for_setting(weights, setting), weights_folder())
        return OutsideFile(setting, found.path, found.sha256, told, _record(weights, (found,)))
    path = Path(told).expanduser()
    taken = [name for name, row in PRETRAINED.items() if any(setting in file.settings for file in row.files)]
    if not path.is_file():
        raise FileNotFoundError(
            f"{setting}: no file {path}, and no weights of that name; it takes {', '.join(taken)}"
        )
    where = f"{setting}: {path}"
    way_out = f"for the published file run: pdfgc weights fetch {' or '.join(taken)}"
    with path.open("rb") as opened:
        refuse_web_page(opened.read(SNIFFED_BYTES), where, way_out)
    refuse_cut_zip(path, where, way_out)
    return OutsideFile(setting, path, remembered_sha256(path), None, None)


def write_outside_weights(folder: Path, files: Iterable[OutsideFile | None]) -> None:
    """Write `outside_weights.json`: whose files a build used, on which terms. Nothing where it used none."""
    used = [file for file in files if file is not None]
    if used:
        with write_atomically(folder / OUTSIDE_WEIGHTS_NAME) as partial:
            partial.write_text(outside_weights_text(used), "utf-8")


def outside_weights_text(files: Iterable[OutsideFile]) -> str:
    """JSON: whose files a build used, on which terms, and who accepted them."""
    told = [
        {"setting": file.setting, "sha256": file.sha256, "weights": file.weights}
        | {"licence": None if file.record is None else asdict(file.record)}
        for file in files
    ]
    return json.dumps(told, indent=1)


def fetch_weights(name: str, progress: FetchProgress, source: str | None = None) -> tuple[FoundFile, ...]:
    """Bring a set into the folder of weights; see `weights.fetch.fetch`."""
    from weights.fetch import fetch  # what speaks to the network is loaded by who fetches

    return fetch(_with_addresses(pretrained_named(name)), weights_folder(), progress, source)


def accept_licence(name: str) -> Acceptance:
    """Record that a set's licence is accepted by a flag.

    Raises:
        ValueError: no such name.
        OSError: the folder cannot be written to.
    """
    return accept(pretrained_named(name), weights_folder())


def _record(weights: PretrainedWeights, files: Iterable[FoundFile]) -> LicenceRecord:
    licence = weights.licence
    return LicenceRecord(
        weights.name,
        licence.name,
        licence.link,
        licence.commercial,
        require_acceptance(weights, weights_folder()),
        {file.name: file.sha256 for file in files},
    )


def _with_addresses(weights: PretrainedWeights) -> PretrainedWeights:
    """The row with the addresses that torchvision knows."""
    if all(file.torchvision is None for file in weights.files):
        return weights
    from torchvision.models import get_weight

    files = tuple(
        file if file.torchvision is None else dataclasses.replace(file, url=get_weight(file.torchvision).url)
        for file in weights.files
    )
    return dataclasses.replace(weights, files=files)
