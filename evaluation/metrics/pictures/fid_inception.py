"""FID: the distance between two sets of pictures, by the Inception network that papers use.

The network is the 2015 Inception v3 with TensorFlow's weights as pytorch-fid ships them
(`pt_inception-2015-12-05-6726825d.pth`, Apache-2.0, 95 MB). It differs from torchvision's in its pools alone.
Fewer pictures give a larger FID, so only values over equally many pictures compare: the record's `video`
holds the numbers.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision.models.inception import BasicConv2d
from typing_extensions import override

from evaluation.metrics.metric import Measurement, Metric, MetricWeights
from evaluation.metrics.pictures.inputs import Pictures, picture_batches
from evaluation.records import COPY_PORTRAIT, MODEL
from models.checkpoint_file import OfficialFile, load_checkpoint

FILE: Final = OfficialFile(names=("pt_inception-2015-12-05-6726825d.pth",))
INPUT_SIDE_PX: Final = 299
FEATURE_WIDTH: Final = 2048
CLASS_COUNT: Final = 1008  # of the published file's last layer, which is not used
FEWEST_PICTURES: Final = 2  # for a covariance
AVERAGING_BLOCKS: Final = (
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b",
)  # fmt: skip
LARGEST_BLOCK: Final = "Mixed_7c"


class FidInception(nn.Module):
    """Pictures uint8 [n, 3, S, S] RGB -> features [n, 2048]; frozen."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.num_features = FEATURE_WIDTH  # torchmetrics reads this attribute
        network = torchvision.models.inception_v3(
            weights=None, init_weights=False, num_classes=CLASS_COUNT, aux_logits=False, transform_input=False
        )
        # Files of that age lack batch normalisation's counters, which inference does not use.
        report = load_checkpoint(network, weights, FILE, allow_missing=True)
        if missing := [key for key in report.missing if not key.endswith("num_batches_tracked")]:
            raise ValueError(
                f"{weights} is not the published Inception: {len(missing)} keys are missing: {missing[:4]}"
            )
        network.add_module("fc", nn.Identity())
        for block in AVERAGING_BLOCKS:
            pool_by(network.get_submodule(block), nn.AvgPool2d(3, 1, 1, count_include_pad=False))
        pool_by(network.get_submodule(LARGEST_BLOCK), nn.MaxPool2d(3, 1, 1))
        self.network = network
        self.requires_grad_(requires_grad=False).eval()

    @override
    def forward(self, pictures: Tensor) -> Tensor:
        # Bilinear without antialiasing, as pytorch-fid does.
        side = (INPUT_SIDE_PX, INPUT_SIDE_PX)
        resized = functional.interpolate(pictures.float() / 255.0, side, mode="bilinear", align_corners=False)
        features: Tensor = self.network(2.0 * resized - 1.0)
        return features


def load_fid(weights: Path) -> Callable[[Pictures, Pictures], Measurement]:
    """`measure_fid` with the network of a file. Raises as `FidInception`."""
    network = FidInception(weights)

    def measure(generated: Pictures, truth: Pictures) -> Measurement:
        return measure_fid(generated, truth, network)

    return measure


def measure_fid(generated: Pictures, truth: Pictures, network: nn.Module) -> Measurement:
    """|m - m'|² + tr(C + C' - 2 (C C')^½) of the features of two sets of pictures, m means, C covariances.

    Args:
        generated: Each uint8 [S, S, 3] RGB.
        truth: Likewise; any number of pictures of any frames.
        network: Pictures uint8 [n, 3, S, S] -> features [n, D]; its `num_features` is D.

    Returns:
        0 if the sets are equal; missing if a set has fewer than two pictures.
    """
    distance = FrechetInceptionDistance(feature=network)
    counts = {False: 0, True: 0}
    for real, pictures in ((False, generated), (True, truth)):
        for batch in picture_batches(pictures):
            distance.update(batch, real=real)
            counts[real] += len(batch)
    if min(counts.values()) < FEWEST_PICTURES:
        return Measurement(None, f"fewer than {FEWEST_PICTURES} pictures in a set")
    return Measurement(float(distance.compute()))


def pool_by(block: nn.Module, pool: nn.Module) -> None:
    """Replace the pool of a block's pooled branch, which torchvision hard-codes, by another one."""
    inputs_of_block: list[Tensor] = []
    branch = block.get_submodule("branch_pool")
    assert isinstance(branch, BasicConv2d)

    def keep_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        inputs_of_block.append(inputs[0])

    def replace(_: nn.Module, __: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (pool(inputs_of_block.pop()),)

    block.register_forward_pre_hook(keep_input)
    branch.register_forward_pre_hook(replace)


FID_INCEPTION: Final = Metric(
    "fid_inception",
    protocol="all pictures of all videos, resized to 299",
    unit="",
    direction="lower",
    load=load_fid,
    weights=MetricWeights("fid_inception", "fid_weights"),
    scorer="fid_inception",
    tasks=("self",),
    # The copied target of a self video is the truth itself.
    methods=(MODEL, COPY_PORTRAIT),
    over_all_videos=True,
)
