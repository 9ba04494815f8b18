"""Mirror images of labelled frames (ours): twice the people, for a network that must read new ones."""

import dataclasses
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor

from preprocessing.faces.shape.mean_face import load_mean_face
from training.data.batches import LabelledFrames

_MIRROR_STREAM: Final = 3
# Pitch, yaw, roll, x, y, z; gaze pitch, yaw.
_POSE_SIGNS: Final = (1.0, -1.0, -1.0, -1.0, 1.0, 1.0)
_GAZE_SIGNS: Final = (1.0, -1.0)


def mirror_half(batch: LabelledFrames) -> LabelledFrames:
    """Mirror every second row, on average, with its labels; which ones is drawn from the rows' seeds."""
    drawn = [np.random.default_rng([_MIRROR_STREAM, seed]).random() < 0.5 for seed in batch.facts.seeds]
    chosen = torch.tensor(drawn, device=batch.frames.device)
    mirrored = mirror(batch)
    changed = {
        name: torch.where(chosen.reshape(-1, *[1] * (value.dim() - 1)), getattr(mirrored, name), value)
        for name, value in batch.tensors().items()
    }
    return dataclasses.replace(batch, **changed)


def mirror(batch: LabelledFrames) -> LabelledFrames:
    """The batch with left and right of every frame exchanged.

    Raises:
        ValueError: it holds cached features, which are those of the frames as they are.
    """
    if batch.features is not None:
        raise ValueError("frames with cached features cannot be mirrored")
    side_px = batch.frames.shape[-1]
    landmarks = batch.landmarks_px[:, _mirror_vertices(batch.landmarks_px.device)]
    across = (side_px - 1 - landmarks[..., :1], landmarks[..., 1:])  # 0 px is the first pixel's centre
    return dataclasses.replace(
        batch,
        frames=batch.frames.flip(-1),
        pose=batch.pose * batch.pose.new_tensor(_POSE_SIGNS),
        gaze=batch.gaze * batch.gaze.new_tensor(_GAZE_SIGNS),
        blink=batch.blink.flip(-1),
        landmarks_px=torch.cat(across, dim=-1),
    )


@cache
def _mirror_vertices(device: torch.device) -> Tensor:
    return torch.from_numpy(load_mean_face().mirror.copy()).to(device)
