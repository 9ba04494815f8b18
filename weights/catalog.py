"""Catalog of the pretrained weights that pdfgc can use: purpose, files, source and licence of each.

All are optional: without them the built-in labellers, losses and metrics are used. `weights.resolve` finds
and verifies the files, `pdfgc weights` fetches them.

A sha256 or size is given where several independent public records agree on it. Where it is None, the first
file used is recorded and later ones must equal it (`weights.folder`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Commercial = Literal["yes", "no", "unclear"]


@dataclass(frozen=True)
class Licence:
    """Terms of use. Unless `commercial` is "yes" they must be accepted once."""

    name: str  # SPDX identifier where there is one
    link: str  # to its text
    commercial: Commercial  # whether commercial use is allowed
    terms: str  # one sentence, shown before acceptance


@dataclass(frozen=True)
class WeightsFile:
    """One file of a catalog entry."""

    name: str
    size_bytes: int | None = None
    sha256: str | None = None  # 64 hex digits
    settings: tuple[str, ...] = ()  # settings that select this file by the entry's name
    other_names: tuple[str, ...] = ()  # that it is distributed under as well
    url: str | None = None  # None: known to torchvision, in the archive, or a manual download
    torchvision: str | None = None  # name for `torchvision.models.get_weight`, which knows the URL
    sha256_start: str | None = None  # first digits of a sha256 that is not known


@dataclass(frozen=True)
class WeightsArchive:
    """A zip or tar with the files of an entry."""

    name: str
    url: str | None = None  # None: a manual download from the entry's page
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class PretrainedWeights:
    """One entry: the file of one network, or files that belong together."""

    name: str
    purpose: str  # one line
    used_by: str  # assets, labellers, losses, metrics
    page: str  # the authors'; also for manual downloads
    licence: Licence
    files: tuple[WeightsFile, ...]
    archive: WeightsArchive | None = None

    @property
    def manual_download(self) -> bool:
        """Whether some file has no URL that it can be downloaded from automatically."""
        if self.archive is not None and self.archive.url is not None:
            return False
        return any(file.url is None and file.torchvision is None for file in self.files)


_TORCHVISION: Final = Licence(
    "BSD-3-Clause",
    "https://github.com/pytorch/vision#pre-trained-model-license",
    "unclear",
    "torchvision's code is BSD-3-Clause; its weights may carry terms derived from the data set, and the "
    "images of ImageNet are for non-commercial research.",
)
_EMONET: Final = Licence(
    "CC-BY-NC-ND-4.0",
    "https://creativecommons.org/licenses/by-nc-nd/4.0/",
    "no",
    "Non-commercial use only; derived works must not be distributed.",
)
_EMONET_PAGE: Final = "https://github.com/face-analysis/emonet"

ALL_WEIGHTS: Final = (
    PretrainedWeights(
        name="pdfgc_official",
        purpose="The four networks released by the authors of PD-FGC, 224 px",
        used_by="animate; training setting start_from",
        page="https://drive.google.com/file/d/1UtFpTnRvUNGNSsr1LDU6W5nNtzacIB9J/view",
        licence=Licence(
            "CC-BY-4.0",
            "https://github.com/Dorniwang/PD-FGC-inference",
            "yes",
            "Any use, with attribution.",
        ),
        files=(
            WeightsFile("appearance_model.pth", settings=("start_from",)),
            # its readme calls it motion_mode.pth
            WeightsFile("motion_model.pth", settings=("start_from",), other_names=("motion_mode.pth",)),
            WeightsFile("audio_model.pth", settings=("start_from",)),
            WeightsFile("generator_model.pth", settings=("start_from",)),
        ),
        archive=WeightsArchive("checkpoints.tar"),
    ),
    PretrainedWeights(
        name="deep3d_facerecon",
        purpose="Deep3DFaceRecon's network: 257 face coefficients, pose among them",
        # The BFM face model is not needed: pose and features need only the network, and the five points used
        # for alignment are constants.
        used_by="pose_labels backend deep3d; φ in the losses",
        page="https://drive.google.com/drive/folders/1liaIxn9smpudjjqMaWWRpP0mXRW_qRPP",
        licence=Licence(
            "MIT",
            "https://github.com/sicxu/Deep3DFaceRecon_pytorch",
            "unclear",
            "The code is MIT; the network was trained with the Basel Face Model and face images that are for "
            "non-commercial research.",
        ),
        files=(WeightsFile("epoch_20.pth", settings=("deep3d_weights",)),),
    ),
    PretrainedWeights(
        name="buffalo_l",
        purpose="InsightFace's pack: face detection (SCRFD) and identity (ArcFace, ResNet50)",
        used_by="face_tracks detector insightface; identity_embeddings; metric csim_insightface",
        page="https://github.com/deepinsight/insightface/tree/master/model_zoo",
        licence=Licence(
            "InsightFace model zoo",
            "https://github.com/deepinsight/insightface/tree/master/model_zoo",
            "no",
            "All models are available for non-commercial research purposes only.",
        ),
        files=(
            WeightsFile(
                "det_10g.onnx",
                16_923_827,
                "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
                ("insightface_detector_weights",),
            ),
            WeightsFile(
                "w600k_r50.onnx",
                174_383_860,
                "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
                ("csim_weights", "insightface_weights"),
            ),
        ),
        archive=WeightsArchive(
            "buffalo_l.zip",
            "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
            288_621_354,
            "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
        ),
    ),
    PretrainedWeights(
        name="face_landmarker",
        purpose="MediaPipe FaceLandmarker: 478 points, 52 blendshapes, a facial transformation matrix",
        used_by="pose_labels backend face_landmarker; blendshape metrics of control_evaluation",
        page="https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker",
        licence=Licence(
            "Apache-2.0",
            "https://www.apache.org/licenses/LICENSE-2.0",
            "yes",
            "Any use, with its notice.",
        ),
        files=(
            WeightsFile(
                "face_landmarker_v2_with_blendshapes.task",
                3_758_596,
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                ("face_landmarker_weights",),
                other_names=("face_landmarker.task",),
                url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
            ),
        ),
    ),
    PretrainedWeights(
        name="l2cs_gaze360",
        purpose="L2CS-Net: gaze from a face image, trained on Gaze360",
        used_by="gaze_labels backend l2cs; gaze estimator in the losses",
        page="https://drive.google.com/drive/folders/17p6ORr-JQJcw-eYtG2WGNiuS_qVKwdWd",
        licence=Licence(
            "MIT",
            "https://github.com/Ahmednull/L2CS-Net",
            "unclear",
            "The code is MIT; the network was trained on Gaze360, which is for research only.",
        ),
        files=(
            WeightsFile(
                "L2CSNet_gaze360.pkl",
                95_849_977,
                "8a7f3480d868dd48261e1d59f915b0ef0bb33ea12ea00938fb2168f212080665",
                ("l2cs_weights",),
            ),
        ),
    ),
    PretrainedWeights(
        name="syncnet_v2",
        purpose="SyncNet: distance between lips and speech",
        used_by="lip_sync_scores backend syncnet_v2; LSE-C and LSE-D of lip_sync_evaluation and score",
        page="https://www.robots.ox.ac.uk/~vgg/software/lipsync/",
        licence=Licence(
            "MIT",
            "https://github.com/joonson/syncnet_python",
            "unclear",
            "The code is MIT; the weights, trained on broadcast television, come without a licence.",
        ),
        files=(
            WeightsFile(
                "syncnet_v2.model",
                54_573_114,
                "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
                ("syncnet_weights",),
                url="https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
            ),
        ),
    ),
    PretrainedWeights(
        name="emonet_8",
        purpose="EmoNet with eight expressions: expression, valence, arousal",
        used_by="ψ in the losses",
        page=_EMONET_PAGE,
        licence=_EMONET,
        files=(
            WeightsFile(
                "emonet_8.pth",
                settings=("emonet_weights",),
                url=f"{_EMONET_PAGE}/raw/master/pretrained/emonet_8.pth",
            ),
        ),
    ),
    PretrainedWeights(
        name="emonet_5",
        purpose="EmoNet with five expressions: expression, valence, arousal",
        used_by="ψ in the losses, alternative to emonet_8",
        page=_EMONET_PAGE,
        licence=_EMONET,
        files=(
            WeightsFile(
                "emonet_5.pth",
                settings=("emonet_weights",),
                url=f"{_EMONET_PAGE}/raw/master/pretrained/emonet_5.pth",
            ),
        ),
    ),
    PretrainedWeights(
        name="vgg19",
        purpose="torchvision's VGG19 (IMAGENET1K_V1)",
        used_by="perceptual loss L_vgg of stages 1 and 3",
        page="https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vgg19.html",
        licence=_TORCHVISION,
        files=(
            WeightsFile(
                "vgg19-dcbb9e9d.pth",
                574_673_361,
                "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
                ("vgg19_weights",),
                torchvision="VGG19_Weights.IMAGENET1K_V1",
            ),
        ),
    ),
    PretrainedWeights(
        name="resnext50",
        purpose="torchvision's ResNeXt-50 32x4d (IMAGENET1K_V1)",
        used_by="initial trunk of stage 1's appearance encoder",
        page="https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnext50_32x4d.html",
        licence=_TORCHVISION,
        files=(
            WeightsFile(
                "resnext50_32x4d-7cdf4587.pth",
                sha256_start="7cdf4587",
                settings=("appearance_weights",),
                torchvision="ResNeXt50_32X4D_Weights.IMAGENET1K_V1",
            ),
        ),
    ),
    PretrainedWeights(
        name="alexnet",
        purpose="torchvision's AlexNet (IMAGENET1K_V1); the linear weights of LPIPS come with torchmetrics",
        used_by="metric lpips_alex",
        page="https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.alexnet.html",
        licence=_TORCHVISION,
        files=(
            WeightsFile(
                "alexnet-owt-7be5be79.pth",
                244_408_911,
                "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                ("lpips_weights",),
                torchvision="AlexNet_Weights.IMAGENET1K_V1",
            ),
        ),
    ),
    PretrainedWeights(
        name="fid_inception",
        purpose="The 2015 Inception v3 that published FID values use, as converted by pytorch-fid",
        used_by="metric fid_inception",
        page="https://github.com/mseitzer/pytorch-fid/releases/tag/fid_weights",
        licence=Licence(
            "Apache-2.0",
            "https://www.apache.org/licenses/LICENSE-2.0",
            "yes",
            "Any use, with its notice.",
        ),
        files=(
            WeightsFile(
                "pt_inception-2015-12-05-6726825d.pth",
                95_628_359,
                "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                ("fid_weights",),
                url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
                "pt_inception-2015-12-05-6726825d.pth",
            ),
        ),
    ),
)

PRETRAINED: Final[Mapping[str, PretrainedWeights]] = {weights.name: weights for weights in ALL_WEIGHTS}


def pretrained_named(name: str) -> PretrainedWeights:
    """The entry of a name.

    Raises:
        ValueError: there is none; lists the names.
    """
    if name not in PRETRAINED:
        raise ValueError(f"no weights {name!r}; known are {', '.join(PRETRAINED)}")
    return PRETRAINED[name]


def taken_by_setting(setting: str) -> list[PretrainedWeights]:
    """The entries that a setting takes by name."""
    return [
        weights for weights in PRETRAINED.values() if any(setting in file.settings for file in weights.files)
    ]


def files_for_setting(weights: PretrainedWeights, setting: str) -> tuple[WeightsFile, ...]:
    """The files that a setting selects by the name of an entry.

    Raises:
        ValueError: the setting does not take this entry; lists those that it takes.
    """
    files = tuple(file for file in weights.files if setting in file.settings)
    if files:
        return files
    names = [taken.name for taken in taken_by_setting(setting)]
    raise ValueError(f"{setting} does not take {weights.name}; it takes {', '.join(names) or 'no name'}")
