"""SyncNet over whole clips: embeddings of all overlapping windows.

What overlapping windows can share: *Frames*: only the first layer spans time, five frames without padding, so
one pass over the clip gives every window, and a frame is read, converted and copied to the device once, not
five times. This saves no multiplications: each one of the first layer belongs to one window, and later layers
see one time step per window. *Sound*: the first layer pads each window with zeros, so a pass over the clip
would differ at the edges; what could be shared is 2 % of a window's multiplications (both branches), and is
not. The rest of the time is spent in normalisation, activations and pooling of large maps: normalisation is
folded into the convolutions, activations follow the pooling (both are monotone, so the order is irrelevant),
3-D layers run as 2-D ones, channels last.

Shape letters: T frames, B windows, M MFCC frames.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from models.external.syncnet import IMAGE_SIDE_PX, MFCC_COUNT, WINDOW_FRAMES, WINDOW_MFCC_FRAMES, SyncNet
from models.shapes import require_shape, to_channels_last

MFCC_STRIDE: Final = 4
"""MFCC frames between windows: one video frame."""
SOUND_WINDOWS_AT_ONCE: Final = 32


class ClipSyncNet:
    """SyncNet for whole clips, for evaluation; a copy of the network's weights.

    Equal to the network on single windows up to the order of float32 sums; on CUDA, TF32 is off.
    """

    def __init__(self, network: SyncNet, device: torch.device, windows_at_once: int | None = None) -> None:
        """Fold the network's normalisation into its convolutions.

        Args:
            network: In evaluation mode; it is not changed.
            device: To compute on.
            windows_at_once: Windows per batch; the first layer's output is 4.6 MB each. Default: 4 on a CPU,
                limited by its cache (20 take twice as long), 64 elsewhere.

        Raises:
            ValueError: the network is in training mode.
        """
        if network.training:
            raise ValueError("SyncNet must be in evaluation mode: batch statistics cannot be folded")
        if windows_at_once is None:
            windows_at_once = 4 if device.type == "cpu" else 64
        if windows_at_once < 1:
            raise ValueError(f"windows_at_once must be >= 1, got {windows_at_once}")
        self.windows_at_once = windows_at_once
        self._device = device
        self._video = folded(network.netcnnlip, network.netfclip).to(device)
        self._sound = folded(network.netcnnaud, network.netfcaud).to(device)

    @torch.inference_mode()
    def embed_frames(self, frames: Tensor) -> Tensor:
        """Embed every window of five consecutive frames.

        Args:
            frames: [T, 3, 224, 224] uint8 or float, channels blue, green, red, values 0 to 255.

        Returns:
            [T - 4, 1024] float32 on the CPU; row t is of frames t to t + 4. Empty for less than 5 frames.

        Raises:
            ValueError: the frames have another shape.
        """
        require_shape("frames", frames, 3, IMAGE_SIDE_PX, IMAGE_SIDE_PX)
        rows: list[Tensor] = []
        for start in range(0, len(frames) - WINDOW_FRAMES + 1, self.windows_at_once):
            chunk = frames[start : start + self.windows_at_once + WINDOW_FRAMES - 1]
            chunk = chunk.to(self._device).float()
            count = len(chunk) - WINDOW_FRAMES + 1
            # The first layer's five steps of time as input channels, time before colour.
            windows = torch.cat([chunk[step : step + count] for step in range(WINDOW_FRAMES)], dim=1)
            rows.append(run_exactly(self._video, windows.contiguous(memory_format=torch.channels_last)))
        return torch.cat(rows) if rows else torch.empty(0, self._width)

    @torch.inference_mode()
    def embed_mfcc(self, mfcc: Tensor) -> Tensor:
        """Embed every window of 20 MFCC frames, four frames apart.

        Args:
            mfcc: [M, 13] coefficients, 100 frames a second.

        Returns:
            [(M - 20) // 4 + 1, 1024] float32 on the CPU; row t starts at MFCC frame 4 t. Empty for
            less than 20 frames.

        Raises:
            ValueError: the coefficients have another shape.
        """
        require_shape("mfcc", mfcc, MFCC_COUNT)
        if len(mfcc) < WINDOW_MFCC_FRAMES:
            return torch.empty(0, self._width)
        windows = mfcc.float().unfold(0, WINDOW_MFCC_FRAMES, MFCC_STRIDE)[:, None]
        pieces = windows.split(SOUND_WINDOWS_AT_ONCE)
        return torch.cat([run_exactly(self._sound, piece.to(self._device)) for piece in pieces])

    @property
    def _width(self) -> int:
        last = self._video[-1]
        assert isinstance(last, nn.Linear)
        return last.out_features


def run_exactly(network: nn.Sequential, windows: Tensor) -> Tensor:
    """Run in full float32: TF32 would change distances by more than the protocol's digits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return network(windows).cpu()


def folded(convolutions: nn.Sequential, head: nn.Sequential) -> nn.Sequential:
    """One branch with folded normalisation, 2-D layers, channels last, and activations after pooling.

    Args:
        convolutions: Groups of convolution, normalisation, activation, some followed by pooling.
        head: Linear, normalisation, activation, linear.

    Returns:
        A network from windows [B, C, H, W] to embeddings; for 3-D convolutions, C is 5 frames x 3 colours.
    """
    layers: list[nn.Module] = []
    parts = list(convolutions)
    for place, part in enumerate(parts):
        if isinstance(part, (nn.Conv2d, nn.Conv3d)):
            norm = parts[place + 1]
            assert isinstance(norm, (nn.BatchNorm2d, nn.BatchNorm3d))
            layers.append(flattened(fuse_conv_bn_eval(part, norm)))
            layers += [flat_pool(pool) for pool in parts[place + 3 : place + 4] if is_pool(pool)]
            layers.append(nn.ReLU(inplace=True))
    first, norm, activation, last = head
    assert isinstance(first, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    flat = nn.Sequential(*layers, nn.Flatten(), fuse_linear_bn_eval(first, norm), activation, last)
    to_channels_last(flat)
    return flat.eval()


def flattened(convolution: nn.Conv2d | nn.Conv3d) -> nn.Conv2d:
    """A 3-D convolution as a 2-D convolution with the time steps stacked as channels."""
    if isinstance(convolution, nn.Conv2d):
        return convolution
    channels, input_channels, steps, height, width = convolution.weight.shape
    flat = nn.Conv2d(
        input_channels * steps,
        channels,
        (height, width),
        stride=(convolution.stride[1], convolution.stride[2]),
        padding=(int(convolution.padding[1]), int(convolution.padding[2])),
    )
    with torch.no_grad():
        flat.weight.copy_(convolution.weight.transpose(1, 2).reshape(flat.weight.shape))
        assert flat.bias is not None
        assert convolution.bias is not None
        flat.bias.copy_(convolution.bias)
    return flat


def is_pool(part: nn.Module) -> bool:
    """Whether the layer pools over more than one value."""
    return isinstance(part, (nn.MaxPool2d, nn.MaxPool3d)) and part.kernel_size != 1


def flat_pool(pool: nn.Module) -> nn.MaxPool2d:
    """A pooling layer that does not span time, as a 2-D one."""
    if isinstance(pool, nn.MaxPool2d):
        return pool
    assert isinstance(pool, nn.MaxPool3d)
    return nn.MaxPool2d(spatial(pool.kernel_size), spatial(pool.stride), spatial(pool.padding))


def spatial(sizes: int | tuple[int, ...]) -> tuple[int, int]:
    """The sizes of a 3-D layer over rows and columns."""
    return (sizes, sizes) if isinstance(sizes, int) else (sizes[-2], sizes[-1])
