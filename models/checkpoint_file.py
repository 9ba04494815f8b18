"""Published weights into our networks: read safely, fitted key by key, refused with one clear error."""

import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

SHOWN_KEYS: Final = 3
WAY_OUT: Final = "`pdfgc weights fetch NAME` gets the published file, or says where it is"
WRAPPERS: Final = ("state_dict", "model_state_dict", "params_ema", "params", "model", "network", "net")
"""Names under which training programs put a state dict into a larger dict, in the order tried."""

UNREADABLE: Final = (
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    RuntimeError,
    AssertionError,
    TypeError,
    ValueError,
    LookupError,
)
"""What `torch.load` raises over files cut short or garbled: found by cutting and by random changes."""

REFUSED_OBJECT: Final = re.compile(r"GLOBAL ([\w.]+)")
"""How torch tells what a pickle wanted to import."""


@dataclass(frozen=True)
class OfficialFile:
    """What a published file is called and which of its keys no network of ours has.

    Args:
        names: Its name, then names that its authors also gave it.
        unused: Regular expressions; a key of the file that one matches whole is left aside.
        by_intersection: Keys that we do not know are left aside as well, not refused.
        wrappers: Further names under which the file may keep the state dict.
        optional: Regular expressions; a key of the network that one matches whole may be missing.
    """

    names: tuple[str, ...]
    unused: tuple[str, ...] = ()
    by_intersection: bool = False
    wrappers: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadReport:
    """Which keys of a file went where, each sorted.

    Args:
        file: The file that was read.
        loaded: Keys that the network took, each of exactly its shape.
        unused: Keys of the file that the network has no place for.
        missing: Keys of the network that the file lacks; empty unless they were allowed.
    """

    file: Path
    loaded: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]


def load_checkpoint(
    network: nn.Module, file: Path, official: OfficialFile, *, allow_missing: bool = False
) -> LoadReport:
    """Load a published file into a network of ours.

    Args:
        network: Its keys are the file's; it stays on its device.
        file: What `torch.save` wrote, of tensors on any device.
        official: What may be in the file beside the network's keys.
        allow_missing: Keep the network's own values for keys that the file lacks; the report names them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as weights alone, or its keys or shapes do not fit; the network is
            unchanged then.
    """
    found = read_state_dict(file, official.wrappers)
    expected = network.state_dict()
    aside = {
        key for key in found if key not in expected and any(re.fullmatch(p, key) for p in official.unused)
    }
    foreign = {key for key in found if key not in expected and key not in aside}
    missing = sorted(key for key in expected if key not in found)
    misfits = [
        f"{key}: {list(found[key].shape)} in the file, {list(expected[key].shape)} in the network"
        for key in sorted(expected)
        if key in found and found[key].shape != expected[key].shape
    ]
    if not allow_missing:
        needed = [key for key in missing if not any(re.fullmatch(p, key) for p in official.optional)]
        misfits += [f"{key}: missing in the file" for key in needed]
    if not official.by_intersection:
        misfits += [f"{key}: not known to the network" for key in sorted(foreign)]
    loaded = sorted(key for key in expected if key in found)
    if misfits or not loaded:
        told = f"{file} ({len(found)} keys) does not fit {type(network).__name__}"
        raise ValueError(f"{told}: {misfit_message(misfits, official)}")
    network.load_state_dict({key: found[key] for key in loaded}, strict=False)
    return LoadReport(file, tuple(loaded), tuple(sorted(aside | foreign)), tuple(missing))


def read_state_dict(file: Path, wrappers: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a file by key, on the CPU; unwrapped, and without DataParallel's `module.`.

    Args:
        file: What `torch.save` wrote. Nothing but tensors and plain containers is ever unpickled.
        wrappers: Names tried before `WRAPPERS`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as weights alone, or holds no state dict.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}")
    try:
        payload = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # From None, and not in torch's words: they advise to unpickle such a file all the same.
        raise ValueError(f"{file} cannot be read as weights: {_why_refused(error)}; {WAY_OUT}") from None
    except UNREADABLE as error:
        reason = str(error).splitlines()[0].partition(". ")[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{file} cannot be read as weights: it is cut short, damaged or no torch file "
            f"({reason.strip()}); {WAY_OUT}"
        ) from error
    state = unwrap(file, payload, (*wrappers, *WRAPPERS))
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): tensor for key, tensor in state.items()}
    return state


def _why_refused(error: pickle.UnpicklingError) -> str:
    if (found := REFUSED_OBJECT.search(str(error))) is not None:
        return f"it holds {found[1]}, and objects other than tensors are never unpickled"
    return "it is cut short, damaged or no torch file"


def unwrap(file: Path, payload: Any, wrappers: tuple[str, ...]) -> dict[str, Tensor]:
    """The state dict inside what a file holds: itself, under a known name, or the only entry.

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
            raise ValueError(f"{file} holds no state dict but {shown}; {WAY_OUT}")
        payload = payload[known[0]] if known else next(iter(payload.values()))
    raise ValueError(f"{file} holds no state dict but a {type(payload).__name__}; {WAY_OUT}")


def misfit_message(misfits: list[str], official: OfficialFile) -> str:
    """Why a file does not fit, in one line: the first keys that don't, and which file would."""
    shown = [*misfits[:SHOWN_KEYS]]
    if len(misfits) > SHOWN_KEYS:
        shown.append(f"{len(misfits) - SHOWN_KEYS} more")
    why = f"{len(misfits)} keys do not ({', '.join(shown)})" if misfits else "it shares no key with it"
    return f"{why}; need {official.names[0]}: {WAY_OUT}" if official.names else why
