"""Entry points for `torch.hub`: every network by name, with the weights of a file or random ones.

    torch.hub.load(REPOSITORY, "generator", source="local", preset="official", checkpoint=FILE)
    torch.hub.load(REPOSITORY, "talking_head", "starter", source="local").animate("face.jpg", "speech.wav")

`talking_head` is a whole trained model and needs the project's packages; all others need torch alone.

`preset` is `official` or `tiny` (SyncNet, L2CS-Net, EmoNet and the face mesh have none). Without `checkpoint`
the weights are random. Networks are in evaluation mode, on the CPU.
"""

import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any
from typing import TypeVar as _TypeVar

import torch as _torch
from torch import nn

from models import official as _official
from models.appearance import AppearanceEncoder as _AppearanceEncoder
from models.audio import AudioEncoder as _AudioEncoder
from models.checkpoint_file import OfficialFile as _OfficialFile
from models.checkpoint_file import load_checkpoint as _load_checkpoint
from models.external.attention_mesh import AttentionMesh as _AttentionMesh
from models.external.attention_mesh import load_attention_mesh as _load_attention_mesh
from models.external.emonet import EmoNet as _EmoNet
from models.external.emonet import EmoNetConfig as _EmoNetConfig
from models.external.emonet import emonet_file as _emonet_file
from models.external.face_reconstruction import FaceReconstruction as _FaceReconstruction
from models.external.l2cs import L2CS as _L2CS
from models.external.l2cs import L2CS_FILE as _L2CS_FILE
from models.external.l2cs import L2CSConfig as _L2CSConfig
from models.external.syncnet import SYNCNET_FILE as _SYNCNET_FILE
from models.external.syncnet import SyncNet as _SyncNet
from models.external.syncnet_clip import ClipSyncNet as _ClipSyncNet
from models.generator import Generator as _Generator
from models.motion import MotionEncoder as _MotionEncoder
from models.presets import preset_named as _preset_named

_Network = _TypeVar("_Network", bound=nn.Module)

dependencies = ["torch", "torchvision"]


def talking_head(run_or_folder: str | _Path = "", device: str = "auto") -> _Any:
    """Run, `starter`, exported or released files -> `HubTalkingHead` with `.animate(portrait, sound)`.

    Empty: run `default` if it is trained under PDFGC_ROOT, else the starter model. This repository stays on
    Python's path, behind everything else: the project imports some of its packages when they are used.
    """
    folder = str(_Path(__file__).resolve().parent)
    if folder not in _sys.path[1:]:
        _sys.path.append(folder)
    from evaluation.hub.hub_head import load_hub_head

    return load_hub_head(str(run_or_folder), device)


def appearance(preset: str = "official", checkpoint: str | _Path | None = None) -> _AppearanceEncoder:
    """Image [B, 3, 224, 224] in [-1, 1] -> `Appearance`: code [B, 2048], map [B, 512, 7, 7]."""
    return _ready(_AppearanceEncoder(_preset_named(preset).appearance), checkpoint, _official.APPEARANCE_FILE)


def motion(preset: str = "official", checkpoint: str | _Path | None = None) -> _MotionEncoder:
    """Image [B, 3, 224, 224] in [-1, 1] -> `MotionCodes`: pose 6, eye 6, expression 30, lip feature 512."""
    return _ready(_MotionEncoder(_preset_named(preset).motion), checkpoint, _official.MOTION_FILE)


def audio(preset: str = "official", checkpoint: str | _Path | None = None) -> _AudioEncoder:
    """Mel spectrogram [B, 1, 80, 20] in [0, 1] -> `AudioCodes`: lip feature 512, lip code 500."""
    return _ready(_AudioEncoder(_preset_named(preset).audio), checkpoint, _official.AUDIO_FILE)


def generator(preset: str = "official", checkpoint: str | _Path | None = None) -> _Generator:
    """Style [B, 2590] and appearance map [B, 512, 7, 7] -> image [B, 3, 224, 224] in (-1, 1)."""
    return _ready(_Generator(_preset_named(preset).generator), checkpoint, _official.GENERATOR_FILE)


def deep3d_reconstruction(
    preset: str = "official", checkpoint: str | _Path | None = None
) -> _FaceReconstruction:
    """Aligned image [B, 3, 224, 224] in [0, 1] -> Deep3DFaceRecon's 257 coefficients [B, 257]."""
    network = _FaceReconstruction(_preset_named(preset).face_reconstruction)
    return _ready(network, checkpoint, _official.FACE_RECONSTRUCTION_FILE)


def syncnet(checkpoint: str | _Path | None = None) -> _SyncNet:
    """Frames [B, 3, 5, 224, 224], BGR in 0..255, and MFCC [B, 1, 13, 20] -> `SyncEmbeddings`, 1024 each."""
    return _ready(_SyncNet(), checkpoint, _SYNCNET_FILE)


def syncnet_clip(checkpoint: str | _Path | None = None) -> _ClipSyncNet:
    """Whole clips: frames [T, 3, 224, 224] -> [T - 4, 1024], MFCC [M, 13] -> [(M - 20) // 4 + 1, 1024].

    With the methods `embed_frames` and `embed_mfcc`. It is not a module; it is on the GPU if there is one.
    """
    device = _torch.device("cuda" if _torch.cuda.is_available() else "cpu")
    return _ClipSyncNet(syncnet(checkpoint), device)


def l2cs(checkpoint: str | _Path | None = None) -> _L2CS:
    """Face [B, 3, 448, 448], RGB normalised as ImageNet -> gaze [B, 2]: pitch, yaw in radians.

    Pitch > 0 looks down, yaw > 0 to the image's right; relative to the line from face to camera, not to the
    head.
    """
    return _ready(_L2CS(_L2CSConfig()), checkpoint, _L2CS_FILE)


def emonet(expressions: int = 8, checkpoint: str | _Path | None = None) -> _EmoNet:
    """Face [B, 3, 256, 256] in [0, 1] -> `Emotion`: feature 256, 8 or 5 scores, valence, arousal."""
    config = _EmoNetConfig(expression_count=expressions)
    return _ready(_EmoNet(config), checkpoint, _emonet_file(expressions))


def attention_mesh() -> _AttentionMesh:
    """MediaPipe's face mesh: faces [B, 3, 192, 192] in [0, 1] -> points [B, 478, 3] px and logits [B].

    Its weights are those of the installed MediaPipe wheel.
    """
    return _load_attention_mesh()


def _ready(network: _Network, checkpoint: str | _Path | None, official: _OfficialFile) -> _Network:
    if checkpoint is not None:
        _load_checkpoint(network, _Path(checkpoint), official)
    return network.eval()
