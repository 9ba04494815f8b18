"""Files laid out like the released ones, key by key and shape by shape, of a few kilobytes each."""

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

LAYOUT: Final[dict[str, dict[str, list[int]]]] = json.loads(
    (Path(__file__).parent / "official_layout.json").read_text()
)
"""Key -> shape of the four released files; `num_batches_tracked` are int64, all else float32."""

FILE_NAMES: Final = {name: f"{name}_model.pth" for name in LAYOUT}


def marked_state(name: str) -> dict[str, Tensor]:
    """A state dict of a released file's layout; each tensor holds its key's number in every place."""
    state: dict[str, Tensor] = {}
    for number, (key, shape) in enumerate(LAYOUT[name].items()):
        dtype = torch.int64 if key.endswith("num_batches_tracked") else torch.float32
        # Expanded, not filled: the file holds one number for each tensor.
        state[key] = torch.tensor(number, dtype=dtype).expand(shape)
    return state


def write_files(folder: Path) -> None:
    """The four files, each wrapped in another way that the release may use."""
    for name, file_name in FILE_NAMES.items():
        content: Any = marked_state(name)
        torch.save({"state_dict": content} if name == "audio" else content, folder / file_name)
