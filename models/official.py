"""The authors' released files in our networks.

Key by key the same names and shapes; what the files hold beyond is listed here, with why nothing needs it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.checkpoint_file import LoadReport, OfficialFile, load_checkpoint
from models.external.face_reconstruction import FaceReconstruction, FaceReconstructionConfig
from models.generator import Generator
from models.motion import MotionEncoder
from models.presets import NetworkPreset

APPEARANCE_FILE: Final = OfficialFile(
    names=("appearance_model.pth",),
    # The trunk's ImageNet classifier and the 5995 identities' one: never called. `fc` may be absent.
    unused=(r"model\.fc\.(weight|bias)", r"fc\..*"),
    wrappers=("net_appearance",),
)
MOTION_FILE: Final = OfficialFile(
    names=("motion_model.pth", "motion_mode.pth"),  # the release's readme misspells it
    # What the released loader drops by name; whatever else is strange to the network it skips too.
    unused=(r".*(mouth_fc|headpose_fc|classifier|to_feature|to_embed).*",),
    by_intersection=True,
    wrappers=("net_motion",),
)
AUDIO_FILE: Final = OfficialFile(
    names=("audio_model.pth",),
    # A classifier, and an expression branch from the sound that the released network has no forward for.
    unused=(r"fc\..*", r"model\.(layer4_exp|attention_exp|fc_exp)\..*", r"exp_embed\..*"),
    wrappers=("net_audio",),
)
GENERATOR_FILE: Final = OfficialFile(
    names=("generator_model.pth",),
    # StyleGAN2's mapping network (53,685,520 parameters) and constant input: the style comes in directly,
    # the appearance's map takes the constant's place.
    unused=(r"style\.[1-8]\.(weight|bias)", r"input\.input"),
    wrappers=("net_generator", "g_ema"),
)
FACE_RECONSTRUCTION_FILE: Final = OfficialFile(names=("epoch_20.pth",), wrappers=("net_recon",))
"""Deep3DFaceRecon's: the network stands under `net_recon`, beside an optimizer's state."""


@dataclass(frozen=True)
class OfficialNetworks:
    """The four networks, in evaluation mode, and what was read from which file."""

    appearance: AppearanceEncoder
    motion: MotionEncoder
    audio: AudioEncoder
    generator: Generator
    reports: tuple[LoadReport, LoadReport, LoadReport, LoadReport]


def load_official(folder: Path, preset: NetworkPreset) -> OfficialNetworks:
    """Load the four released files.

    Args:
        folder: Where they lie, under the authors' names.
        preset: `OFFICIAL` for the authors' files; another one for files of that preset's shapes.

    Returns:
        The networks on the CPU in float32, in evaluation mode.

    Raises:
        FileNotFoundError: a file is absent.
        ValueError: a file cannot be read as weights alone, or does not fit; its name and the first keys
            that don't fit are in the message.
    """
    appearance = AppearanceEncoder(preset.appearance).eval()
    motion = MotionEncoder(preset.motion).eval()
    audio = AudioEncoder(preset.audio).eval()
    generator = Generator(preset.generator).eval()
    reports = (
        load_checkpoint(appearance, find_file(folder, APPEARANCE_FILE), APPEARANCE_FILE),
        load_checkpoint(motion, find_file(folder, MOTION_FILE), MOTION_FILE),
        load_checkpoint(audio, find_file(folder, AUDIO_FILE), AUDIO_FILE),
        load_checkpoint(generator, find_file(folder, GENERATOR_FILE), GENERATOR_FILE),
    )
    return OfficialNetworks(appearance, motion, audio, generator, reports)


def load_face_reconstruction(file: Path) -> FaceReconstruction:
    """Deep3DFaceRecon's network with a file's weights, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read as weights alone, or does not fit.
    """
    network = FaceReconstruction(FaceReconstructionConfig())
    load_checkpoint(network, file, FACE_RECONSTRUCTION_FILE)
    return network.eval()


def find_file(folder: Path, official: OfficialFile) -> Path:
    """The file in the folder under the first of its names that is there.

    Raises:
        FileNotFoundError: it is there under none of them.
    """
    for name in official.names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no {' or '.join(official.names)} in {folder}")
