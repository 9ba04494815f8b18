"""FID: the distance of two sets of pictures, by the Inception network that published figures use.

The network is the 2015 Inception v3 with TensorFlow's weights as pytorch-fid ships them
(`pt_inception-2015-12-05-6726825d.pth`, Apache-2.0, 95 MB), from a file that the user gives: nothing is
downloaded. It differs from torchvision's in its pools alone. Features of equal sets are at 0; few pictures
make FID larger, so only figures of equally many compare: the number stands in the row.
"""

import hashlib
from pathlib import Path
from typing import Final

import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.image.fid import FrechetInceptionDistance
from torchvision.models.inception import BasicConv2d
from typing_extensions import override

from evaluation.metrics.pictures.batches import Pictures, picture_batches
from evaluation.records import MetricRecord
from models.checkpoint_file import OfficialFile, load_checkpoint

NAME: Final = "fid_inception"
FILE: Final = OfficialFile(names=("pt_inception-2015-12-05-6726825d.pth",))
MISSING: Final = (
    "no Inception weights: pdfgc weights fetch fid_inception (Apache-2.0), and give fid_inception as the FID "
    "weights"
)
INPUT_SIDE_PX: Final = 299
FEATURE_WIDTH: Final = 2048
CLASS_COUNT: Final = 1008  # of the published file's last layer, which takes no part
FEWEST_PICTURES: Final = 2  # a covariance wants two
AVERAGING_BLOCKS: Final = (
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b",
)  # fmt: skip
LARGEST_BLOCK: Final = "Mixed_7c"


class FidInception(nn.Module):
    """Pictures uint8 [n, 3, S, S] RGB -> features [n, 2048]; nothing in it is trained."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.num_features = FEATURE_WIDTH  # torchmetrics asks for it by this name
        network = torchvision.models.inception_v3(
            weights=None, init_weights=False, num_classes=CLASS_COUNT, aux_logits=False, transform_input=False
        )
        # Counters of batch normalisation, which files of its age lack, mean nothing here.
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
        with weights.open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.requires_grad_(requires_grad=False).eval()

    @override
    def forward(self, pictures: Tensor) -> Tensor:
        # Bilinear without antialiasing, as pytorch-fid; the same thing for pictures smaller than 299.
        side = (INPUT_SIDE_PX, INPUT_SIDE_PX)
        resized = functional.interpolate(pictures.float() / 255.0, side, mode="bilinear", align_corners=False)
        features: Tensor = self.network(2.0 * resized - 1.0)
        return features


def load_fid_inception(weights: Path | None) -> FidInception | None:
    """The network with a file's weights; None of no file.

    Raises:
        FileNotFoundError: a file is named and is not there.
        ValueError: it is not the published Inception's.
    """
    return None if weights is None else FidInception(weights)


def fid_inception_row(
    generated: Pictures, truth: Pictures, network: FidInception | None, *, task: str, method: str
) -> MetricRecord:
    """`fid_inception` of one set of pictures, all videos' together; 0 is equal, lower is better.

    Args:
        generated: Each uint8 [S, S, 3] RGB, 0 to 255; resized to 299.
        truth: As many or more or fewer, of any moments; resized as well.
        network: None: the row is missing, with what to give.
        task: For the row.
        method: For the row.

    Returns:
        Its `video` tells how many pictures stood against how many; missing where either has fewer than two.
    """
    if network is None:
        return MetricRecord(NAME, task, method, NAME, "all videos", None, "", "lower", MISSING)
    value, counts = frechet_distance(generated, truth, network)
    video, scorer = f"{counts[0]} pictures against {counts[1]}", f"{NAME}:{network.digest[:8]}"
    why = f"fewer than {FEWEST_PICTURES} pictures on a side" if value is None else ""
    return MetricRecord(NAME, task, method, scorer, video, value, "", "lower", why)


def frechet_distance(
    generated: Pictures, truth: Pictures, network: nn.Module
) -> tuple[float | None, tuple[int, int]]:
    """|m - m'|² + tr(C + C' - 2 (C C')^½) of two sets' features, m their means and C their covariances.

    Args:
        generated: Each uint8 [S, S, 3] RGB.
        truth: Likewise.
        network: Pictures uint8 [n, 3, S, S] -> features [n, D]; its `num_features` is D.

    Returns:
        The distance, None where a side has fewer than two pictures; and how many pictures each side has.
    """
    distance = FrechetInceptionDistance(feature=network)
    counts = {False: 0, True: 0}
    for real, pictures in ((False, generated), (True, truth)):
        for batch in picture_batches(pictures):
            distance.update(batch, real=real)
            counts[real] += len(batch)
    told = (counts[False], counts[True])
    return (float(distance.compute()) if min(told) >= FEWEST_PICTURES else None), told


def pool_by(block: nn.Module, pool: nn.Module) -> None:
    """Let a block's pooled branch see the block's input by another pool than torchvision's."""
    held: list[Tensor] = []
    branch = block.get_submodule("branch_pool")
    assert isinstance(branch, BasicConv2d)

    def hold(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        held.append(inputs[0])

    def replace(_: nn.Module, __: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (pool(held.pop()),)

    block.register_forward_pre_hook(hold)
    branch.register_forward_pre_hook(replace)
