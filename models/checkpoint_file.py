"""Loading published weights: read safely, matched key by key, with one clear error."""

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from models.weights_container import check_container, check_tensors

SHOWN_KEYS: Final = 3
FETCH_HINT: Final = "`pdfgc weights fetch NAME` downloads the published file, or prints its address"
WRAPPERS: Final = ("state_dict", "model_state_dict", "params_ema", "params", "model", "network", "net")
"""Keys under which training code stores a state dict, in the order tried."""

UNREADABLE: Final = (
    OSError,  # torch's reader of zip files
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    RuntimeError,
    AssertionError,
    TypeError,
    ValueError,
    LookupError,
    MemoryError,  # of a length that a damaged pickle claims
)
"""Exceptions of `torch.load` for truncated or damaged files, found by truncation and random changes."""

REFUSED_OBJECT: Final = re.compile(r"GLOBAL ([\w.]+)")
"""Torch's message about what a pickle tried to import."""


@dataclass(frozen=True)
class OfficialFile:
    """Names of a published file, and which of its keys are not used.

    Args:
        names: Its name, then alternative names.
        unused: Regular expressions that match whole keys of the file to ignore.
        by_intersection: Ignore all unknown keys.
        wrappers: Further keys under which the file may store the state dict.
        optional: Regular expressions that match whole keys of the network that may be missing.
    """

    names: tuple[str, ...]
    unused: tuple[str, ...] = ()
    by_intersection: bool = False
    wrappers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadReport:
    """The keys of a loaded file, sorted.

    Args:
        file: The file.
        loaded: Keys that were loaded.
        unused: Keys of the file that the network does not have.
        missing: Keys of the network that the file does not have; empty unless allowed.
    """

    file: Path
    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]


def load_checkpoint(
    network: nn.Module, file: Path, official: OfficialFile, *, allow_missing: bool = False
) -> LoadReport:
    """Load a published file into a network.

    Args:
        network: It stays on its device.
        file: Written by `torch.save`, with tensors on any device.
        official: What the file may hold in addition to the network's keys.
        allow_missing: Keep the network's values for keys that the file does not have; the report lists them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds more than weights, or its keys or shapes do not fit; the network is unchanged.
    """
    state = read_state_dict(file, official.wrappers)
    expected = network.state_dict()
    extra = [key for key in state if key not in expected]
    unused = {key for key in extra if any(re.fullmatch(pattern, key) for pattern in official.unused)}
    unknown = set(extra) - unused
    missing = sorted(key for key in expected if key not in state)
    misfits = [
        f"{key}: {list(state[key].shape)} in the file, {list(expected[key].shape)} in the network"
        for key in sorted(expected)
        if key in state and state[key].shape != expected[key].shape
    ]
    if not allow_missing:
        optional = official.optional
        needed = [key for key in missing if not any(re.fullmatch(pattern, key) for pattern in optional)]
        misfits += [f"{key}: missing in the file" for key in needed]
    if not official.by_intersection:
        misfits += [f"{key}: not known to the network" for key in sorted(unknown)]
    loaded = sorted(key for key in expected if key in state)
    if misfits or not loaded:
        summary = f"{file} ({len(state)} keys) does not fit {type(network).__name__}"
        raise ValueError(f"{summary}: {misfit_message(misfits, official)}")
    network.load_state_dict({key: state[key] for key in loaded}, strict=False)
    return LoadReport(file, tuple(loaded), tuple(sorted(unused | unknown)), tuple(missing))


def read_state_dict(file: Path, wrappers: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a file by key, on the CPU; unwrapped, and without DataParallel's `module.`.

    Args:
        file: Written by `torch.save`. Only tensors and plain containers are unpickled.
        wrappers: Keys tried before `WRAPPERS`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds more than weights, or no state dict.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}")
    if file.suffix == ".safetensors":
        raise ValueError(
            f"{file} holds a stage of a training run or an exported model, not one published network: call "
            "talking_head(RUN_OR_FOLDER) of hubconf.py, with the run's name or what `pdfgc export` wrote"
        )
    try:
        check_container(file)
    except ValueError as error:
        raise ValueError(f"{file} cannot be read as weights: {error}; {FETCH_HINT}") from error
    try:
        payload = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Without torch's message, which recommends to unpickle the file anyway.
        raise ValueError(f"{file} cannot be read as weights: {_refusal(error)}; {FETCH_HINT}") from None
    except UNREADABLE as error:
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{file} cannot be read as weights: it is truncated, damaged or not a torch file "
            f"({reason.strip()}); {FETCH_HINT}"
        ) from error
    state = unwrap(file, payload, (*wrappers, *WRAPPERS))
    try:
        check_tensors(state)
    except ValueError as error:
        raise ValueError(f"{file} cannot be used as weights: {error}; {FETCH_HINT}") from error
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): tensor for key, tensor in state.items()}
    return state


def _refusal(error: pickle.UnpicklingError) -> str:
    if (match := REFUSED_OBJECT.search(str(error))) is not None:
        return f"it holds {match[1]}, and only tensors are unpickled"
    return "it is truncated, damaged or not a torch file"


def unwrap(file: Path, payload: Any, wrappers: tuple[str, ...]) -> dict[str, Tensor]:
    """The state dict in the content of a file: the content itself, or under a known key, or the only entry.

    Raises:
        ValueError: there is none.
    """
    while isinstance(payload, Mapping):
        known = [name for name in wrappers if isinstance(payload.get(name), Mapping)]
        tensors = {str(key): value for key, value in payload.items() if isinstance(value, Tensor)}
        if tensors and not known:
            return tensors
        if not known and len(payload) != 1:
            shown = ", ".join(map(str, list(payload)[:SHOWN_KEYS])) or "nothing"
            raise ValueError(f"{file} holds no state dict but {shown}; {FETCH_HINT}")
        payload = payload[known[0]] if known else next(iter(payload.values()))
    raise ValueError(f"{file} holds no state dict but a {type(payload).__name__}; {FETCH_HINT}")


def misfit_message(misfits: list[str], official: OfficialFile) -> str:
    """Why a file does not fit, in one line: the first keys that do not, and the file that does."""
    shown = [*misfits[:SHOWN_KEYS]]
    if len(misfits) > SHOWN_KEYS:
        shown.append(f"{len(misfits) - SHOWN_KEYS} more")
    why = f"{len(misfits)} keys do not ({', '.join(shown)})" if misfits else "it has none of its keys"
    return f"{why}; need {official.names[0]}: {FETCH_HINT}" if official.names else why
