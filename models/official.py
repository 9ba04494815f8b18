"""The authors' released files.

They have the names and shapes of these networks, and more keys, which are listed here with the reason why
they are not needed.
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
    # Classifiers of ImageNet and of 5995 identities, which are not used. `fc` may be absent.
    unused=(r"model\.fc\.(weight|bias)", r"fc\..*"),
    wrappers=("net_appearance",),
)
MOTION_FILE: Final = OfficialFile(
    names=("motion_model.pth", "motion_mode.pth"),  # spelled so in the release's readme
    # The released loader drops these by name, and skips all other unknown keys.
    unused=(r".*(mouth_fc|headpose_fc|classifier|to_feature|to_embed).*",),
    by_intersection=True,
    wrappers=("net_motion",),
)
AUDIO_FILE: Final = OfficialFile(
    names=("audio_model.pth",),
    # A classifier, and an expression branch that the released network does not use.
    unused=(r"fc\..*", r"model\.(layer4_exp|attention_exp|fc_exp)\..*", r"exp_embed\..*"),
    wrappers=("net_audio",),
)
GENERATOR_FILE: Final = OfficialFile(
    names=("generator_model.pth",),
    # StyleGAN2's mapping network (53,685,520 parameters) and constant input: here the style is a direct input
    # and the appearance map replaces the constant.
    unused=(r"style\.[1-8]\.(weight|bias)", r"input\.input"),
    wrappers=("net_generator", "g_ema"),
)
FACE_RECONSTRUCTION_FILE: Final = OfficialFile(names=("epoch_20.pth",), wrappers=("net_recon",))
"""Deep3DFaceRecon: the network is under `net_recon`, next to an optimizer's state."""


@dataclass(frozen=True)
class OfficialNetworks:
    """The four networks, in evaluation mode, and the loaded keys of each file."""

    appearance: AppearanceEncoder
    motion: MotionEncoder
    audio: AudioEncoder
    generator: Generator
    reports: tuple[LoadReport, LoadReport, LoadReport, LoadReport]


def load_official(folder: Path, preset: NetworkPreset) -> OfficialNetworks:
    """Load the four released files.

    Args:
        folder: Of the files, under the authors' names.
        preset: `OFFICIAL` for the authors' files; another preset for files of its shapes.

    Returns:
        The networks on the CPU in float32, in evaluation mode.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file holds more than weights, or does not fit; names it and the first keys that do not.
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
    """Deep3DFaceRecon's network with the weights of a file, in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds more than weights, or does not fit.
    """
    network = FaceReconstruction(FaceReconstructionConfig())
    load_checkpoint(network, file, FACE_RECONSTRUCTION_FILE)
    return network.eval()


def find_file(folder: Path, official: OfficialFile) -> Path:
    """The file in the folder, under the first of its names that exists.

    Raises:
        FileNotFoundError: none exists.
    """
    for name in official.names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no {' or '.join(official.names)} in {folder}")
