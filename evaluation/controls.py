"""The four controls of a talking head, each with a driver of its own."""

from typing import Final, Literal, get_args

Control = Literal["lip", "pose", "eye", "expression"]
CONTROLS: Final[tuple[Control, ...]] = get_args(Control)
