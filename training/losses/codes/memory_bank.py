"""A memory bank of recent features, for estimates that need more samples than a batch.

Shape letters: B samples of a batch, N samples held, D width of a feature.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class MemoryBank:
    """A ring buffer of the last `capacity` features, float32, without gradients (PD-FGC, stage 3).

    Not a module, so that DDP does not broadcast it and casts of the network do not change it: every rank has
    and saves its own, with the rows that the stage pushes, of its own batch or of all ranks. Two banks that
    always receive the same samples stay aligned row by row.
    Unverified: M, the paper's capacity (M ≫ batch).

    Attributes:
        capacity: M, the maximum number of features.
        width: D of a feature.
    """

    def __init__(self, capacity: int, width: int, device: torch.device | str = "cpu") -> None:
        """Create an empty bank.

        Raises:
            ValueError: capacity or width is below 1.
        """
        if capacity < 1 or width < 1:
            raise ValueError(f"capacity and width must be >= 1, got {capacity} and {width}")
        self.capacity = capacity
        self.width = width
        self._rows = torch.zeros(capacity, width, device=device)
        # Python integers: counters on the device would force a synchronisation at every step.
        self._next_row = 0
        self._held = 0

    def __len__(self) -> int:
        """N, the number of features in it."""
        return self._held

    def push(self, features: Float[Tensor, "B D"]) -> None:
        """Add a batch of features, detached, in place of the oldest; of more than `capacity`, the last ones.

        Raises:
            ValueError: the features have another width.
        """
        if features.shape[1] != self.width:
            raise ValueError(f"features must be [B, {self.width}], got {list(features.shape)}")
        latest = features.detach()[-self.capacity :].to(self._rows)
        until_end = min(len(latest), self.capacity - self._next_row)
        self._rows[self._next_row : self._next_row + until_end] = latest[:until_end]
        self._rows[: len(latest) - until_end] = latest[until_end:]
        self._next_row = (self._next_row + len(latest)) % self.capacity
        self._held = min(self._held + len(latest), self.capacity)

    def latest(self) -> Float[Tensor, "N D"]:
        """A copy of the features, float32, in the order of the ring, not of time.

        A copy, because the next `push` overwrites rows that a loss may still need for its gradient.
        """
        return self._rows[: self._held].clone()

    def state_dict(self) -> dict[str, Tensor]:
        """The state that a resumed run needs; tensors only (`weights_only=True`)."""
        return {
            "rows": self._rows.clone(),
            "next_row": torch.tensor(self._next_row),
            "held": torch.tensor(self._held),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load a saved state onto this bank's device.

        Raises:
            ValueError: other names, capacity or width, or impossible counters.
        """
        if set(state) != {"rows", "next_row", "held"}:
            raise ValueError(f"not a memory bank's state: its keys are {sorted(state)}")
        rows, next_row, held = state["rows"], int(state["next_row"]), int(state["held"])
        if rows.shape != self._rows.shape:
            raise ValueError(f"saved rows {list(rows.shape)} do not fit a bank of {list(self._rows.shape)}")
        # Until the ring is full, the next row is the first free one.
        consistent = held in (next_row, self.capacity)
        if not (0 <= next_row < self.capacity and 0 <= held <= self.capacity and consistent):
            raise ValueError(
                f"impossible saved counters: next_row {next_row}, held {held} of {self.capacity}"
            )
        self._rows.copy_(rows)
        self._next_row, self._held = next_row, held
