"""LPIPS with AlexNet: how different two pictures look, by features weighted to match people's judgement.

Zhang et al. 2018, version 0.1: at the outputs of AlexNet's five ReLUs, features of length one over channels,
their squared difference, weighted by channel, averaged over positions, summed over layers. The channel
weights come with torchmetrics, AlexNet's own from torchvision (`alexnet-owt-7be5be79.pth`, ImageNet, 244 MB).
"""

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import torch
import torchvision
from torch import Tensor, nn
from typing_extensions import override

from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from evaluation.metrics.pictures.inputs import PictureReference, PictureVideo, paired_batches
from models.checkpoint_file import OfficialFile, load_checkpoint, read_state_dict

BACKBONE: Final = OfficialFile(
    names=("alexnet-owt-7be5be79.pth",), unused=(r"classifier\.\d+\.(weight|bias)",)
)
RELU_LAYERS: Final = (1, 4, 7, 9, 11)  # of torchvision's `alexnet().features`
CHANNELS: Final = (64, 192, 384, 256, 256)
SHIFT: Final = (-0.030, -0.088, -0.188)  # LPIPS' own normalisation of [-1, 1], not torchvision's of [0, 1]
SCALE: Final = (0.458, 0.448, 0.450)
NORM_EPSILON: Final = 1e-8  # under the root, as torchmetrics


class LpipsAlex(nn.Module):
    """LPIPS between pictures; frozen.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not hold AlexNet's weights.
    """

    def __init__(self, backbone: Path) -> None:
        super().__init__()
        alexnet = torchvision.models.alexnet(weights=None)
        del alexnet.classifier
        load_checkpoint(alexnet, backbone, BACKBONE)
        self.features = nn.ModuleList(list(alexnet.features)[: RELU_LAYERS[-1] + 1])
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
        head = 0
        for number, layer in enumerate(self.features):
            maps = layer(maps)
            if number in RELU_LAYERS:
                unit = maps / (maps.square().sum(dim=1, keepdim=True) + NORM_EPSILON).sqrt()
                unit_a, unit_b = unit.chunk(2)
                weighted = (unit_a - unit_b).square() * self.heads[head]
                total = total + weighted.sum(dim=1).mean(dim=(1, 2))
                head += 1
        return total


def load_lpips(backbone: Path) -> Callable[[PictureVideo, PictureReference], Measurement]:
    """`measure_lpips` with the backbone of a file. Raises as `LpipsAlex`."""
    network = LpipsAlex(backbone)

    def measure(generated: PictureVideo, reference: PictureReference) -> Measurement:
        return measure_lpips(generated, reference, network)

    return measure


def measure_lpips(generated: PictureVideo, reference: PictureReference, network: LpipsAlex) -> Measurement:
    """Mean LPIPS over pictures of side 32 or more: 0 equal, about 1 unlike.

    Raises:
        ValueError: there are no pictures, or the videos differ in length or size.
    """
    values = [
        network(batch.float() / 127.5 - 1.0, truth.float() / 127.5 - 1.0)
        for batch, truth in paired_batches(generated.pictures, reference.true_pictures)
    ]
    return Measurement(float(torch.cat(values).mean()))


def _channel_weights() -> list[Tensor]:
    """LPIPS' channel weights [C, 1, 1] of each layer, as torchmetrics ships them."""
    with as_file(files("torchmetrics") / "functional/image/lpips_models/alex.pth") as file:
        weights = read_state_dict(file)
    return [
        weights[f"lin{layer}.model.1.weight"].reshape(width, 1, 1) for layer, width in enumerate(CHANNELS)
    ]


LPIPS_ALEX: Final = Metric(
    "lpips_alex_{side_px}px",
    protocol="all frames, at the pictures' size",
    unit="",
    direction="lower",
    load=load_lpips,
    weights=MetricWeights("alexnet", "lpips_weights"),
    scorer="lpips_alex",
    tasks=("self",),
)
