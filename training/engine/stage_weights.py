"""The weights that a stage leaves: one safetensors file, its keys cut into parts by name.

A part is a network or a piece of one: `appearance`, `motion.model`, `motion.to_mouth`. Its tensors'
keys are ``<part>.<key of its state dict>``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from storage.atomic import write_atomically


@dataclass(frozen=True)
class StageWeights:
    """What a stage's file holds, and where it came from."""

    origin: str  # for messages
    tensors: Mapping[str, Tensor]

    def has(self, part: str) -> bool:
        """Whether the file holds a part."""
        return any(key.startswith(f"{part}.") for key in self.tensors)

    def load_into(self, part: str, network: nn.Module) -> None:
        """Load a part into a network.

        Raises:
            ValueError: the file lacks the part, or its keys or shapes are not the network's.
        """
        prefix = f"{part}."
        state = {
            key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)
        }
        expected = network.state_dict()
        misfits = [f"{key}: missing in the checkpoint" for key in expected if key not in state]
        misfits += [f"{key}: not known to the network" for key in state if key not in expected]
        misfits += [
            f"{key}: {list(state[key].shape)} in the checkpoint, {list(expected[key].shape)} in the network"
            for key in expected
            if key in state and state[key].shape != expected[key].shape
        ]
        if misfits:
            raise ValueError(
                f"{self.origin}: {part} does not fit {type(network).__name__} ({len(misfits)} keys): "
                + "; ".join(misfits[:4])
            )
        network.load_state_dict(state)


def collect(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Tensors of all parts by full key, detached, on the CPU, contiguous and each with memory of its own.

    Raises:
        ValueError: two parts give the same key.
    """
    tensors: dict[str, Tensor] = {}
    for part, network in parts.items():
        for key, value in network.state_dict().items():
            name = f"{part}.{key}"
            if name in tensors:
                raise ValueError(f"two parts hold a tensor named {name}")
            tensors[name] = value.detach().cpu().contiguous().clone()
    return tensors


def write_weights(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all; the same tensors give the same bytes."""
    payload = save(dict(tensors), metadata=dict(facts or {}))
    with write_atomically(file) as partial:
        partial.write_bytes(payload)


def read_weights(file: Path, origin: str | None = None) -> StageWeights:
    """Read a safetensors file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}")
    try:
        return StageWeights(origin or str(file), load_file(file))
    except SafetensorError as error:
        raise ValueError(f"{file} cannot be read as weights: {error}") from error
