"""Networks for labellers, by torch.hub: this room imports none. Imports torch when a network is asked for."""

from pathlib import Path
from typing import Any


def network_from_hub(entry: str, checkpoint: Path) -> Any:
    """What an entry of this project's `hubconf.py` makes of a file of weights, on the CPU.

    Args:
        entry: its name.
        checkpoint: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read as weights alone, or is not what the entry takes.
    """
    import torch

    if not checkpoint.is_file():
        raise FileNotFoundError(f"no weights at {checkpoint}")
    project = Path(__file__).parents[2]
    # In a checkout it stands beside the packages, in an installed wheel inside of `models`.
    folder = next(place for place in (project, project / "models") if (place / "hubconf.py").is_file())
    return torch.hub.load(str(folder), entry, source="local", checkpoint=checkpoint)


def fastest_device() -> Any:
    """A torch device: the GPU where there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
