"""Resolve the value of a weights setting, a catalog name or a path, to verified files.

Imports neither torch nor a network library; fetching does.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from storage.atomic import write_atomically
from weights.catalog import (
    ALL_WEIGHTS,
    PRETRAINED,
    PretrainedWeights,
    files_for_setting,
    pretrained_named,
    taken_by_setting,
)
from weights.folder import (
    SNIFFED_BYTES,
    FetchProgress,
    VerifiedFile,
    cached_sha256,
    find_files,
    refuse_truncated_zip,
    refuse_web_page,
    weights_folder,
)
from weights.licences import LicenceAcceptance, accept, require_acceptance

PRETRAINED_WEIGHTS_NAME: Final = "pretrained_weights.json"


@dataclass(frozen=True)
class LicenceRecord:
    """What is published about the licence of weights that a build used."""

    name: str
    licence: str
    link: str
    commercial: str  # yes, no or unclear
    acceptance: LicenceAcceptance | None  # None: none is needed
    sha256: dict[str, str]  # of each file used


@dataclass(frozen=True)
class ResolvedWeights:
    """A verified file that a setting selects."""

    setting: str
    path: Path
    sha256: str  # 64 hex digits
    weights: str | None  # name in the catalog; None: the setting holds a path
    record: LicenceRecord | None  # None: the setting holds a path


def resolve_weights(value: str, setting: str) -> ResolvedWeights | None:
    """The file that a setting selects; None if the setting is empty. For settings that mean one file.

    Args:
        value: a name in the catalog, or a path.
        setting: name of the setting, such as `vgg19_weights`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the setting does not take these weights, their licence was not accepted, or the file is
            not the expected one.
    """
    files = resolve_files(value, setting)
    assert len(files) <= 1, f"{setting} selects several files"
    return files[0] if files else None


def resolve_files(value: str, setting: str) -> tuple[ResolvedWeights, ...]:
    """All files that a setting selects; () if the setting is empty.

    A setting that means several files takes the path of a folder that holds them. Arguments and errors:
    `resolve_weights`.
    """
    if not value:
        return ()
    if value in PRETRAINED:
        weights = PRETRAINED[value]
        files = find_files(weights, weights_folder(), files_for_setting(weights, setting))
        record = _record(weights, files)
        return tuple(ResolvedWeights(setting, file.path, file.sha256, value, record) for file in files)
    paths = _given_paths(Path(value).expanduser(), setting)
    return tuple(ResolvedWeights(setting, path, cached_sha256(path), None, None) for path in paths)


def resolve_config(config: object, settings: Sequence[str] | None = None) -> tuple[ResolvedWeights, ...]:
    """All files that the weights settings of a configuration select.

    Args:
        config: a settings object.
        settings: names of its settings; default all that some entry of the catalog is for.

    Raises as `resolve_weights`.
    """
    if settings is None:
        known = [setting for weights in ALL_WEIGHTS for file in weights.files for setting in file.settings]
        settings = [setting for setting in dict.fromkeys(known) if hasattr(config, setting)]
    return tuple(file for setting in settings for file in resolve_files(getattr(config, setting), setting))


def weights_path(name: str) -> Path:
    """Path of the file of a catalog entry, or of the folder if it has several; verified.

    Raises as `weights.folder.find_files`; ValueError if the catalog has no such name.
    """
    files = find_files(pretrained_named(name), weights_folder())
    return files[0].path if len(files) == 1 else weights_folder() / name


def licence_record(name: str) -> LicenceRecord:
    """The licence record of all files of a catalog entry, verified. Raises as `weights_path`."""
    weights = pretrained_named(name)
    return _record(weights, find_files(weights, weights_folder()))


def write_pretrained_weights(folder: Path, files: Iterable[ResolvedWeights | None]) -> None:
    """Write `pretrained_weights.json`, the weights a build used; nothing if it used none."""
    used = [file for file in files if file is not None]
    if used:
        with write_atomically(folder / PRETRAINED_WEIGHTS_NAME) as partial:
            partial.write_text(pretrained_weights_json(used), "utf-8")


def pretrained_weights_json(files: Iterable[ResolvedWeights]) -> str:
    """JSON list of the weights a build used: setting, sha256, catalog name, licence and its acceptance."""
    entries = [
        {
            "setting": file.setting,
            "sha256": file.sha256,
            "weights": file.weights,
            "licence": None if file.record is None else asdict(file.record),
        }
        for file in files
    ]
    return json.dumps(entries, indent=1)


def fetch_weights(name: str, progress: FetchProgress, source: str | None = None) -> tuple[VerifiedFile, ...]:
    """Bring a catalog entry into the weights folder; see `weights.fetch.fetch`."""
    from weights.fetch import fetch  # imports network libraries

    return fetch(_with_urls(pretrained_named(name)), weights_folder(), progress, source)


def accept_licence(name: str) -> LicenceAcceptance:
    """Store that the licence of a catalog entry was accepted by a command line flag.

    Raises:
        ValueError: the catalog has no such name.
        OSError: the folder is not writable.
    """
    return accept(pretrained_named(name), weights_folder())


def _given_paths(path: Path, setting: str) -> list[Path]:
    """The files at a path that a setting holds, checked for web pages and truncated zips."""
    taken = taken_by_setting(setting)
    expected = files_for_setting(taken[0], setting)
    names = [name.name for name in taken]
    if len(expected) == 1:
        paths = [path]
        if not path.is_file():
            raise FileNotFoundError(
                f"{setting}: no file {path}, and no weights of that name; it takes {', '.join(names)}"
            )
    else:
        paths = [_file_in(path, (file.name, *file.other_names), setting, names) for file in expected]
    fix = f"for the published file run: pdfgc weights fetch {' or '.join(names)}"
    for file in paths:
        with file.open("rb") as opened:
            refuse_web_page(opened.read(SNIFFED_BYTES), f"{setting}: {file}", fix)
        refuse_truncated_zip(file, f"{setting}: {file}", fix)
    return paths


def _file_in(folder: Path, names: Sequence[str], setting: str, taken: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{setting}: no {' or '.join(names)} in {folder}, and no weights of that name; "
        f"it takes {', '.join(taken)}"
    )


def _record(weights: PretrainedWeights, files: Iterable[VerifiedFile]) -> LicenceRecord:
    licence = weights.licence
    return LicenceRecord(
        weights.name,
        licence.name,
        licence.link,
        licence.commercial,
        require_acceptance(weights, weights_folder()),
        {file.name: file.sha256 for file in files},
    )


def _with_urls(weights: PretrainedWeights) -> PretrainedWeights:
    """The entry with the URLs that torchvision knows."""
    if all(file.torchvision is None for file in weights.files):
        return weights
    from torchvision.models import get_weight

    files = tuple(
        file if file.torchvision is None else dataclasses.replace(file, url=get_weight(file.torchvision).url)
        for file in weights.files
    )
    return dataclasses.replace(weights, files=files)
