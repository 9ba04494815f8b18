"""The latest features of a training run, for estimates that need more samples than a batch holds.

Shape letters: B samples of a batch, N samples held, D width of a feature.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class MemoryBank:
    """A ring of the `capacity` latest features, float32, without gradients (PD-FGC, stage 3).

    No module, so that neither DDP's broadcast of buffers nor a cast of the network touches it: every rank
    holds and saves its own. Two banks that are always given the same samples stay row by row in step.
    Unverified: M, the paper's capacity (M ≫ batch).

    Attributes:
        capacity: M, how many features it holds at most.
        width: D of a feature.
    """

    def __init__(self, capacity: int, width: int, device: torch.device | str = "cpu") -> None:
        """Make an empty bank.

        Raises:
            ValueError: the capacity or the width is below one.
        """
        if capacity < 1 or width < 1:
            raise ValueError(f"a bank needs capacity and width of at least 1, got {capacity}, {width}")
        self.capacity = capacity
        self.width = width
        self._rows = torch.zeros(capacity, width, device=device)
        # Plain integers: counters on the device would make every step wait for it.
        self._next_row = 0
        self._held = 0

    def __len__(self) -> int:
        """N, how many features it holds."""
        return self._held

    def push(self, features: Float[Tensor, "B D"]) -> None:
        """Add a batch's features, detached, in place of the oldest; of more than `capacity` the last stay.

        Raises:
            ValueError: the features have another width.
        """
        if features.shape[1] != self.width:
            raise ValueError(f"this bank holds features of width {self.width}, got {list(features.shape)}")
        latest = features.detach()[-self.capacity :].to(self._rows)
        until_end = min(len(latest), self.capacity - self._next_row)
        self._rows[self._next_row : self._next_row + until_end] = latest[:until_end]
        self._rows[: len(latest) - until_end] = latest[until_end:]
        self._next_row = (self._next_row + len(latest)) % self.capacity
        self._held = min(self._held + len(latest), self.capacity)

    def latest(self) -> Float[Tensor, "N D"]:
        """A copy of what it holds, float32, in the ring's order, not in time's.

        Two banks given the same samples agree in that order. A copy, because the next `push` writes over
        rows that a loss may still need for its gradient.
        """
        return self._rows[: self._held].clone()

    def state_dict(self) -> dict[str, Tensor]:
        """All that a resumed run needs to go on bit by bit: tensors alone (`weights_only=True`)."""
        return {
            "rows": self._rows.clone(),
            "next_row": torch.tensor(self._next_row),
            "held": torch.tensor(self._held),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state, onto this bank's device.

        Raises:
            ValueError: the state is another bank's: other names, capacity, width or impossible counters.
        """
        if set(state) != {"rows", "next_row", "held"}:
            raise ValueError(f"not a memory bank's state: it names {sorted(state)}")
        rows, next_row, held = state["rows"], int(state["next_row"]), int(state["held"])
        if rows.shape != self._rows.shape:
            raise ValueError(f"saved rows {list(rows.shape)} do not fit a bank of {list(self._rows.shape)}")
        # Until the ring is full the next row is the first free one.
        consistent = held in (next_row, self.capacity)
        if not (0 <= next_row < self.capacity and 0 <= held <= self.capacity and consistent):
            raise ValueError(f"saved counters cannot be: next_row {next_row}, held {held} of {self.capacity}")
        self._rows.copy_(rows)
        self._next_row, self._held = next_row, held
