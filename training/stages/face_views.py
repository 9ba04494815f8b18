"""Our crop as the outside networks of the losses were trained to see faces.

The crop of mode `official` puts the clip's eyes and mouth in fixed places, so a fixed square of it is what
each network's own alignment would cut out of it, up to how a head differs from the mean one and moves within
its clip. The squares are those that the networks' alignments give for the mean face (`mean_face_478.csv`) at
pose zero in that crop; the test of this file derives them. Real and generated frames are cut alike, so what
is left of an error is the same in both. In crops of mode `square` faces are smaller, and these squares wrong
by as much.

Shape letters: B samples, S side of a picture.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from preprocessing.schema import CROP_SIDE_PX


@dataclass(frozen=True)
class FaceView:
    """A square of the crop, in px of the crop at 224 px from its left and upper edge; may reach beyond it.

    Raises:
        ValueError: it has no size.
    """

    left_px: float
    top_px: float
    side_px: float

    def __post_init__(self) -> None:
        if not self.side_px > 0:
            raise ValueError(f"a view needs a side above 0, got {self}")


DEEP3D_VIEW: Final = FaceView(left_px=2.0, top_px=-11.7, side_px=221.8)
"""Deep3DFaceRecon: five points fitted to its model's five, the model's origin in the middle, its unit 102 of
224 px: nearly the crop itself, moved up by a twentieth."""
L2CS_VIEW: Final = FaceView(left_px=29.0, top_px=20.6, side_px=167.2)
"""L2CS-Net: a detector's face box. Ours: from the forehead's upper edge in the mesh to the chin, made square;
how its training's boxes were cut is not published."""
EMONET_VIEW: Final = FaceView(left_px=-13.0, top_px=-7.4, side_px=251.1)
"""EmoNet: width and height of the box around 68 landmarks, added and divided by 1.1, around its middle."""


def see(image: Tensor, view: FaceView, side_px: int) -> Tensor:
    """The square of pictures that a view names.

    Args:
        image: [B, 3, S, S] RGB in [-1, 1], the whole crop at any resolution.
        view: which square.
        side_px: of the result.

    Returns:
        [B, 3, side_px, side_px] float32 RGB in [0, 1], bilinear; black beyond the crop. Gradients reach
        the image.
    """
    zoom = view.side_px / CROP_SIDE_PX
    right = (view.left_px * 2 + view.side_px) / CROP_SIDE_PX - 1  # of the view's middle, in -1 to 1
    down = (view.top_px * 2 + view.side_px) / CROP_SIDE_PX - 1
    places = torch.tensor([[zoom, 0.0, right], [0.0, zoom, down]], device=image.device)
    grid = functional.affine_grid(
        places.expand(len(image), 2, 3), [len(image), 3, side_px, side_px], align_corners=False
    )
    # Black is 0 here, which is what `grid_sample` fills up with.
    unit = (image.float() + 1) / 2
    return functional.grid_sample(unit, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
