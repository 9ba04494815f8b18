"""SyncNet v2: embeddings of 0.2 s of a talking face and of 0.2 s of sound, comparable by distance.

Keys and shapes are those of the published `syncnet_v2.model`; strides, paddings and pooling layers, which the
file does not contain, are those of the published network.

Shape letters: B windows, C channels, D width of an embedding (1024). A video window is 5 frames of
224 x 224 px at 25 frames a second; a sound window is 20 MFCC frames of 13 coefficients at 100 a second.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor, nn
from typing_extensions import override

from models.checkpoint_file import OfficialFile, load_checkpoint
from models.shapes import require_shape

WINDOW_FRAMES: Final = 5
IMAGE_SIDE_PX: Final = 224
WINDOW_MFCC_FRAMES: Final = 20
MFCC_COUNT: Final = 13
EMBEDDING_WIDTH: Final = 1024
HIDDEN_WIDTH: Final = 512
SYNCNET_FILE: Final = OfficialFile(names=("syncnet_v2.model",))


@dataclass(frozen=True)
class SyncEmbeddings:
    """Embeddings of video [B, 1024] and sound [B, 1024], one row per window."""

    video: Tensor
    sound: Tensor


class SyncNet(nn.Module):
    """The two branches; the caller computes the distance of their embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = sound_convolutions()
        self.netfcaud = embedding_head()
        self.netfclip = embedding_head()
        self.netcnnlip = video_convolutions()

    @override
    def forward(self, frames: Tensor, mfcc: Tensor) -> SyncEmbeddings:
        """Embed windows of frames and of sound.

        Args:
            frames: As `embed_video`.
            mfcc: As `embed_sound`.
        """
        return SyncEmbeddings(self.embed_video(frames), self.embed_sound(mfcc))

    def embed_video(self, frames: Tensor) -> Tensor:
        """Embed windows of five frames.

        Args:
            frames: [B, 3, 5, 224, 224], channels blue, green, red, values 0 to 255, not normalised.

        Returns:
            [B, 1024].

        Raises:
            ValueError: the frames have another shape.
        """
        require_shape("frames", frames, 3, WINDOW_FRAMES, IMAGE_SIDE_PX, IMAGE_SIDE_PX)
        return self.netfclip(self.netcnnlip(frames).flatten(1))

    def embed_sound(self, mfcc: Tensor) -> Tensor:
        """Embed windows of 20 MFCC frames.

        Args:
            mfcc: [B, 1, 13, 20] python_speech_features' default MFCC of samples in the int16 range.

        Returns:
            [B, 1024].

        Raises:
            ValueError: the coefficients have another shape.
        """
        require_shape("mfcc", mfcc, 1, MFCC_COUNT, WINDOW_MFCC_FRAMES)
        return self.netfcaud(self.netcnnaud(mfcc).flatten(1))


def load_syncnet(file: Path) -> SyncNet:
    """The network with the weights of a file, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds more than weights, or is not SyncNet v2's.
    """
    network = SyncNet()
    load_checkpoint(network, file, SYNCNET_FILE)
    return network.eval()


def sound_convolutions() -> nn.Sequential:
    """[B, 1, 13, 20] -> [B, 512, 1, 1]; axes: coefficients, time. Every 3 x 3 convolution pads both."""
    return nn.Sequential(
        *flat_convolution(1, 64),
        nn.MaxPool2d(kernel_size=1, stride=1),
        *flat_convolution(64, 192),
        nn.MaxPool2d(kernel_size=3, stride=(1, 2)),
        *flat_convolution(192, 384),
        *flat_convolution(384, 256),
        *flat_convolution(256, 256),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(256, 512, kernel_size=(5, 4)),
        nn.BatchNorm2d(512),
        nn.ReLU(),
    )


def flat_convolution(input_channels: int, channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A 3 x 3 convolution of the sound, its norm and its activation."""
    return nn.Conv2d(input_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()


def video_convolutions() -> nn.Sequential:
    """[B, 3, 5, 224, 224] -> [B, 512, 1, 1, 1]. Only the first layer spans time; none pads it."""
    return nn.Sequential(
        *deep_convolution(3, 96, kernel=(5, 7, 7), stride=2, padding=0),
        nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2)),
        *deep_convolution(96, 256, kernel=(1, 5, 5), stride=2, padding=1),
        nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        *deep_convolution(256, 256, kernel=(1, 3, 3), stride=1, padding=1),
        *deep_convolution(256, 256, kernel=(1, 3, 3), stride=1, padding=1),
        *deep_convolution(256, 256, kernel=(1, 3, 3), stride=1, padding=1),
        nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2)),
        *deep_convolution(256, 512, kernel=(1, 6, 6), stride=1, padding=0),
    )


def deep_convolution(
    input_channels: int, channels: int, kernel: tuple[int, int, int], stride: int, padding: int
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A convolution over time, rows and columns, its norm and its activation.

    Args:
        input_channels: Channels coming in.
        channels: Channels going out.
        kernel: Extents over time, rows and columns.
        stride: Step over rows and columns; over time it is 1.
        padding: Zeros around rows and columns; over time there are none.
    """
    steps, zeros = (1, stride, stride), (0, padding, padding)
    convolution = nn.Conv3d(input_channels, channels, kernel, stride=steps, padding=zeros)
    return convolution, nn.BatchNorm3d(channels), nn.ReLU()


def embedding_head() -> nn.Sequential:
    """[B, 512] -> [B, 1024]."""
    return nn.Sequential(
        nn.Linear(HIDDEN_WIDTH, HIDDEN_WIDTH),
        nn.BatchNorm1d(HIDDEN_WIDTH),
        nn.ReLU(),
        nn.Linear(HIDDEN_WIDTH, EMBEDDING_WIDTH),
    )
