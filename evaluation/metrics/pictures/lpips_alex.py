"""LPIPS with AlexNet: how different two pictures look, by features that people's judgement weighted.

The formula is the published one (Zhang et al. 2018, version 0.1): at the outputs of AlexNet's five ReLUs,
features of length one over channels, their squared difference, weighted by channel, the mean over places,
summed over layers. The weights by channel come with torchmetrics; AlexNet's own (torchvision's
`alexnet-owt-7be5be79.pth`, trained on ImageNet, 244 MB) come from a file that the user gives: nothing is
downloaded.
"""

import hashlib
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import torch
import torchvision
from torch import Tensor, nn
from typing_extensions import override

from evaluation.metrics.pictures.batches import Pictures, paired_batches
from evaluation.records import MetricRecord
from models.checkpoint_file import OfficialFile, load_checkpoint, read_state_dict

NAME: Final = "lpips_alex"
BACKBONE: Final = OfficialFile(
    names=("alexnet-owt-7be5be79.pth",), unused=(r"classifier\.\d+\.(weight|bias)",)
)
MISSING: Final = (
    "no AlexNet weights: pdfgc weights fetch alexnet (torchvision's), and give alexnet as the LPIPS weights"
)
RELU_LAYERS: Final = (1, 4, 7, 9, 11)  # of torchvision's `alexnet().features`
CHANNELS: Final = (64, 192, 384, 256, 256)
SHIFT: Final = (-0.030, -0.088, -0.188)  # LPIPS' own normalisation of [-1, 1], not torchvision's of [0, 1]
SCALE: Final = (0.458, 0.448, 0.450)
NORM_EPSILON: Final = 1e-8  # under the root, as torchmetrics


class LpipsAlex(nn.Module):
    """LPIPS between pictures; nothing in it is trained."""

    def __init__(self, backbone: Path) -> None:
        super().__init__()
        alexnet = torchvision.models.alexnet(weights=None)
        del alexnet.classifier
        load_checkpoint(alexnet, backbone, BACKBONE)
        self.features = nn.ModuleList(list(alexnet.features)[: RELU_LAYERS[-1] + 1])
        with backbone.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        heads = _channel_weights()
        self.heads = nn.ParameterList(heads)
        self.shift = nn.Buffer(torch.tensor(SHIFT)[:, None, None])
        self.scale = nn.Buffer(torch.tensor(SCALE)[:, None, None])
        self.requires_grad_(requires_grad=False).eval()

    @override
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """[n] of pictures a and b, each [n, 3, S, S] in [-1, 1]; 0 where equal."""
        maps = (torch.cat([a, b]) - self.shift) / self.scale
        total = torch.zeros(len(a), device=a.device)
        tapped = 0
        for number, layer in enumerate(self.features):
            maps = layer(maps)
            if number in RELU_LAYERS:
                unit = maps / (maps.square().sum(dim=1, keepdim=True) + NORM_EPSILON).sqrt()
                mine, theirs = unit.chunk(2)
                weighted = (mine - theirs).square() * self.heads[tapped]
                total = total + weighted.sum(dim=1).mean(dim=(1, 2))
                tapped += 1
        return total


def load_lpips_alex(weights: Path | None) -> LpipsAlex | None:
    """LPIPS with the backbone of a file; None of no file.

    Raises:
        FileNotFoundError: a file is named and is not there.
        ValueError: it is not AlexNet's.
    """
    return None if weights is None else LpipsAlex(weights)


def lpips_alex_row(
    generated: Pictures, truth: Pictures, network: LpipsAlex | None, *, task: str, method: str, video: str
) -> MetricRecord:
    """`lpips_alex_<S>px` of one video: the mean over its pictures; 0 equal, about 1 unlike; lower is better.

    Args:
        generated: Each uint8 [S, S, 3] RGB, 0 to 255, S at least 32; compared at that size.
        truth: The same moments, of the same size.
        network: None: the row is missing, with what to give.
        task: For the row.
        method: For the row.
        video: For the row.

    Raises:
        ValueError: there are no pictures, or the two differ in number or size.
    """
    if network is None:
        return MetricRecord(NAME, task, method, NAME, video, None, "", "lower", MISSING)
    values: list[Tensor] = []
    side_px = 0
    for mine, theirs in paired_batches(generated, truth):
        side_px = mine.shape[-1]
        values.append(network(mine.float() / 127.5 - 1.0, theirs.float() / 127.5 - 1.0))
    if not values:
        raise ValueError(f"{video}: no pictures to compare")
    scorer = f"{NAME}:{network.digest[:8]}"
    value = float(torch.cat(values).mean())
    return MetricRecord(f"{NAME}_{side_px}px", task, method, scorer, video, value, "", "lower")


def _channel_weights() -> list[Tensor]:
    """LPIPS' learnt weights of the channels, [C, 1, 1] a layer, as torchmetrics ships them."""
    with as_file(files("torchmetrics") / "functional/image/lpips_models/alex.pth") as file:
        found = read_state_dict(file)
    return [found[f"lin{layer}.model.1.weight"].reshape(width, 1, 1) for layer, width in enumerate(CHANNELS)]
