"""The audio encoder: a lip code from 0.2 s of speech.

Shape letters: B samples, C channels, F mel bands, T mel frames (10 ms each), D width of a feature or code.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from models.motion import code_head
from models.shapes import require_shape


@dataclass(frozen=True)
class AudioConfig:
    """Widths and depths; the defaults are the released network's."""

    mel_bands: int = 80
    mel_frames: int = 20
    block_counts: tuple[int, int, int, int] = (3, 4, 6, 3)
    stage_channels: tuple[int, int, int, int] = (32, 64, 128, 256)
    excitation_reduction: int = 8
    attention_width: int = 128
    feature_width: int = 512
    lip_width: int = 500

    @property
    def pooled_width(self) -> int:
        """Features per time step: channels times the mel bands after three halvings."""
        return self.stage_channels[-1] * -(-self.mel_bands // 8)


@dataclass(frozen=True)
class AudioCodes:
    """The audio feature [B, 512], comparable with the lip feature, and the lip code [B, 500] read from it."""

    lip_feature: Tensor
    lip_code: Tensor


class SqueezeExcitation(nn.Module):
    """Scale channels by a function of their means: [B, C, F, T] -> [B, C, F, T]."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        narrow = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels), nn.Sigmoid()
        )

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Scale every channel by a factor in (0, 1)."""
        return maps * self.fc(maps.mean(dim=(2, 3)))[:, :, None, None]


class ExcitedBlock(nn.Module):
    """Residual block whose first convolution has its ReLU before the normalisation.

    ``[B, input, F, T] -> [B, output, F / stride, T / stride]``, rounded up.
    """

    def __init__(self, input_channels: int, channels: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = SqueezeExcitation(channels, reduction)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(input_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )
            if stride != 1 or input_channels != channels
            else nn.Identity()
        )

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Two convolutions, squeeze and excitation, shortcut, ReLU."""
        hidden = self.bn1(functional.relu(self.conv1(maps)))
        hidden = self.se(self.bn2(self.conv2(hidden)))
        return functional.relu(hidden + self.downsample(maps))


class SpectrogramTrunk(nn.Module):
    """SE-ResNet over the mel spectrogram, pooled over time by self-attention: [B, 1, F, T] -> [B, D]."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        channels = config.stage_channels
        self.conv1 = nn.Conv2d(1, channels[0], 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.layer1 = excited_stage(config, stage=0, input_channels=channels[0])
        self.layer2 = excited_stage(config, stage=1, input_channels=channels[0])
        self.layer3 = excited_stage(config, stage=2, input_channels=channels[1])
        self.layer4 = excited_stage(config, stage=3, input_channels=channels[2])
        self.attention = nn.Sequential(
            nn.Conv1d(config.pooled_width, config.attention_width, 1),
            nn.ReLU(),
            nn.BatchNorm1d(config.attention_width),
            nn.Conv1d(config.attention_width, config.pooled_width, 1),
            nn.Softmax(dim=2),
        )
        self.fc = nn.Linear(config.pooled_width, config.feature_width)

    @override
    def forward(self, mel: Tensor) -> Tensor:
        """The feature [B, D] of mel spectrograms [B, 1, F, T]."""
        maps = self.bn1(functional.relu(self.conv1(mel)))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        steps = maps.flatten(1, 2)  # [B, C * F / 8, T / 8]
        return self.fc((steps * self.attention(steps)).sum(dim=2))


class AudioEncoder(nn.Module):
    """Spectrogram trunk and the lip code read from its feature."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.model = SpectrogramTrunk(config)
        self.mouth_embed = code_head(config.feature_width, config.lip_width)

    @override
    def forward(self, mel: Tensor) -> AudioCodes:
        """Encode audio.

        Args:
            mel: [B, 1, 80, 20] mel spectrogram in [0, 1], 100 frames a second.

        Returns:
            lip_feature [B, 512] and lip_code [B, 500].

        Raises:
            ValueError: the spectrogram has another shape.
        """
        require_shape("mel", mel, 1, self.config.mel_bands, self.config.mel_frames)
        feature = self.model(mel)
        return AudioCodes(lip_feature=feature, lip_code=self.mouth_embed(feature))


def excited_stage(config: AudioConfig, stage: int, input_channels: int) -> nn.Sequential:
    """The blocks of one stage; all but the first stage halve bands and frames."""
    channels, reduction = config.stage_channels[stage], config.excitation_reduction
    first = ExcitedBlock(input_channels, channels, 1 if stage == 0 else 2, reduction)
    rest = [ExcitedBlock(channels, channels, 1, reduction) for _ in range(1, config.block_counts[stage])]
    return nn.Sequential(first, *rest)
