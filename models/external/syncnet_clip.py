"""SyncNet over whole clips: every overlapping window's embedding, without cutting windows out.

What overlapping windows can share was counted, not assumed. *Pictures*: only the first layer reaches
over time, five frames with no padding, so one pass over the clip gives every window; a frame is read,
converted and copied to the device once, not five times. It saves no products: each product of the
first layer belongs to one window alone, and all layers behind it see one time step a window. *Sound*:
the first layer already pads each window's ends with zeros, so a pass over the clip would differ at
those columns; what could be shared in front of the second pool is 2 % of a window's products (both
branches), and is left. What the time goes into besides products is norms, activations and pools over
large maps: the norms are folded into the convolutions, activations come behind the pools (both are
monotone, so the order is free), 3-D layers run as 2-D ones, channels last.

Shape letters: T frames, B windows, M MFCC frames.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from models.external.syncnet import IMAGE_SIDE_PX, MFCC_COUNT, WINDOW_FRAMES, WINDOW_MFCC_FRAMES, SyncNet
from models.shapes import require_shape, to_channels_last

MFCC_STRIDE: Final = 4
"""MFCC frames from one window to the next: one video frame."""
SOUND_WINDOWS_AT_ONCE: Final = 32


class ClipSyncNet:
    """A SyncNet's weights, arranged for whole clips. Evaluation only; it does not follow later changes.

    Equal to the network window by window but for the order of float32 sums; on CUDA, TF32 is off for it.
    """

    def __init__(self, network: SyncNet, device: torch.device, windows_at_once: int | None = None) -> None:
        """Fold the network.

        Args:
            network: In evaluation mode; it is only read.
            device: Where to compute.
            windows_at_once: Bound on the windows in work: the first layer's output is 4.6 MB each. By
                default 4 on a CPU, whose cache holds no more (20 take twice as long), 64 elsewhere.

        Raises:
            ValueError: the network is in training mode, whose norms differ from batch to batch.
        """
        if network.training:
            raise ValueError("SyncNet is in training mode; its norms can be folded in evaluation mode alone")
        if windows_at_once is None:
            windows_at_once = 4 if device.type == "cpu" else 64
        if windows_at_once < 1:
            raise ValueError(f"windows_at_once is {windows_at_once}, need at least 1")
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
            [T - 4, 1024] float32 on the CPU; row t is of frames t to t + 4. No row for less than 5 frames.

        Raises:
            ValueError: the frames have another shape.
        """
        require_shape("frames", frames, 3, IMAGE_SIDE_PX, IMAGE_SIDE_PX)
        rows: list[Tensor] = []
        for start in range(0, len(frames) - WINDOW_FRAMES + 1, self.windows_at_once):
            piece = frames[start : start + self.windows_at_once + WINDOW_FRAMES - 1]
            piece = piece.to(self._device).float()
            count = len(piece) - WINDOW_FRAMES + 1
            # The first layer's five steps of time as input channels, time before colour.
            windows = torch.cat([piece[step : step + count] for step in range(WINDOW_FRAMES)], dim=1)
            rows.append(run_exactly(self._video, windows.contiguous(memory_format=torch.channels_last)))
        return torch.cat(rows) if rows else torch.empty(0, self._width)

    @torch.inference_mode()
    def embed_mfcc(self, mfcc: Tensor) -> Tensor:
        """Embed every window of 20 MFCC frames, four frames apart.

        Args:
            mfcc: [M, 13] coefficients, 100 frames a second.

        Returns:
            [(M - 20) // 4 + 1, 1024] float32 on the CPU; row t begins at MFCC frame 4 t. No row for less
            than 20 frames.

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
    """Run in float32 proper: TF32 would move distances by more than the protocol's digits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return network(windows).cpu()


def folded(convolutions: nn.Sequential, head: nn.Sequential) -> nn.Sequential:
    """One branch with its norms folded, flat, channels last, and activations behind the pools.

    Args:
        convolutions: Of groups convolution, norm, activation, some followed by a pool.
        head: Linear, norm, activation, linear.

    Returns:
        For windows [B, C, H, W] embeddings; where the convolutions are 3-D, C is 5 frames x 3 colours.
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
    """A convolution over time as a flat one over time's steps stacked as channels."""
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
    """Whether the layer is a pool of more than single places."""
    return isinstance(part, (nn.MaxPool2d, nn.MaxPool3d)) and part.kernel_size != 1


def flat_pool(pool: nn.Module) -> nn.MaxPool2d:
    """A pool that does not reach over time, as a flat one."""
    if isinstance(pool, nn.MaxPool2d):
        return pool
    assert isinstance(pool, nn.MaxPool3d)
    return nn.MaxPool2d(spatial(pool.kernel_size), spatial(pool.stride), spatial(pool.padding))


def spatial(sizes: int | tuple[int, ...]) -> tuple[int, int]:
    """A 3-D layer's sizes over rows and columns."""
    return (sizes, sizes) if isinstance(sizes, int) else (sizes[-2], sizes[-1])
