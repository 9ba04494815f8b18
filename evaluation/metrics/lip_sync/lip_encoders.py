"""The lip encoders of a run's stage 2 as a lip sync scorer. Imports torch.

Shape letters: F frames, D width of the lip feature.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor, nn
from upath import UPath

from evaluation.animation.checkpoint_abilities import exported_file
from evaluation.animation.exported_model import read_exported
from evaluation.animation.mel_windows import mel_windows
from evaluation.metrics.lip_sync.distance import VIDEO_SIDE_PX
from models.audio import AudioEncoder
from models.motion import MotionEncoder
from models.presets import NetworkPreset
from preprocessing.schema import SAMPLES_PER_FRAME
from storage.fingerprint import WEIGHTS_DIGITS
from storage.publishing import current, published_partitions, verify
from storage.root import local_copy, open_root
from training.data.frames import to_network_input
from training.engine.checkpoint import WEIGHTS_NAME
from training.engine.stage_weights import StageWeights, collect, read_weights
from training.engine.weights_digest import weights_digest
from training.jobs.job import TrainingJob
from training.jobs.stage_run import JOB_NAME, read_settings
from training.jobs.worker import read_parents
from training.losses.codes.contrastive import unit_length
from training.stages.stage import FrozenNetwork, StageContext

NAME: Final = "lip_encoders"
STAGE: Final = "stage2_lip"
TRUNK_STAGE: Final = "stage1_motion"
FRAMES_AT_ONCE: Final = 32


class LipEncoders(nn.Module):
    """Trunk of E_mot, lip head and E_aud, frozen."""

    def __init__(self, context: StageContext, lip: StageWeights) -> None:
        super().__init__()
        motion, audio = MotionEncoder(context.networks.motion), AudioEncoder(context.networks.audio)
        context.parents[TRUNK_STAGE].load_into("motion.model", motion.model)
        lip.load_into("motion.to_mouth", motion.to_mouth)
        lip.load_into("audio.model", audio.model)
        parts = {"motion.model": motion.model, "motion.to_mouth": motion.to_mouth, "audio.model": audio.model}
        self.digest = hashlib.sha256(save(collect(parts))).hexdigest()
        self.side_px = motion.config.trunk.image_side_px
        self.width = motion.config.head_width
        self.lips = FrozenNetwork(nn.Sequential(motion.model, motion.to_mouth))
        self.audio = FrozenNetwork(audio.model)


class LipEncodersScorer:
    """The encoders as `LipSyncScorer`: one picture against its 0.2 s of sound.

    Features have length one, so that a distance d corresponds to the cosine similarity S that the lip stage
    trains: d² = 2 - 2 S. F frames and 640 F samples give F windows.
    """

    def __init__(self, run: str, encoders: LipEncoders, device: torch.device) -> None:
        self._name = f"{NAME}:{run}:{encoders.digest[:WEIGHTS_DIGITS]}"
        self._encoders = encoders.to(device)
        self._device = device

    @property
    def name(self) -> str:
        """`lip_encoders:<run>:<digest of the three networks' weights>`: another training, another scorer."""
        return self._name

    @torch.inference_mode()
    def embed_frames(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """[F, D] of frames, each an aligned crop [224, 224, 3] RGB; row t is frame t.

        Raises:
            ValueError: a frame has another shape.
        """
        rows = [
            unit_length(self._encoders.lips(to_network_input(batch.to(self._device), self._encoders.side_px)))
            for batch in _batches(frames)
        ]
        return self._table(rows)

    @torch.inference_mode()
    def embed_sound(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N // 640, D] of samples [N], mono at 16 kHz in [-1, 1]; row t belongs to frame t.

        Windows are as in training: loudness of the whole sound, silence before and after it.
        """
        windows = mel_windows(samples, len(samples) // SAMPLES_PER_FRAME, FRAMES_AT_ONCE)
        return self._table(
            [unit_length(self._encoders.audio(torch.from_numpy(batch).to(self._device))) for batch in windows]
        )

    def _table(self, rows: list[Tensor]) -> NDArray[np.float32]:
        return torch.cat(rows).cpu().numpy() if rows else np.zeros((0, self._encoders.width), np.float32)


def load_lip_encoders(root: UPath, run: str) -> LipEncodersScorer:
    """The scorer of a run's published lip stage, on a CUDA device if there is one.

    Args:
        root: Where runs are published.
        run: The run's name, or `starter`.

    Raises:
        FileNotFoundError: the starter model is not installed.
        ValueError: the run has not trained the stage, it is damaged, or stage 1 was trained again since.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    exported = exported_file(run)
    if exported is not None:
        weights = read_exported(exported)
        return LipEncodersScorer(run, LipEncoders(weights.context, weights.stages[STAGE]), device)
    published = None if "/" in run or not run else current(root, STAGE, run)
    if published is None:
        known = published_partitions(root, STAGE)
        runs = ", ".join(known) or "none"
        raise ValueError(f"run {run!r} has not trained {STAGE} under {root}; runs that have: {runs}")
    if wrong := verify(published):
        raise ValueError(f"{STAGE} of run {run!r} is damaged (changed files: {wrong[:4]}), train it again")
    folder = local_copy(published.directory)
    config = TrainingJob.read(folder / JOB_NAME).config
    # The lip head only works with the trunk it was trained on.
    trunk = current(root, TRUNK_STAGE, config.parents_run or config.run)
    trained_on = published.manifest.inputs.get(TRUNK_STAGE)
    if trunk is not None and trained_on is not None and trained_on.digest != weights_digest(trunk):
        raise ValueError(f"{TRUNK_STAGE} of run {run!r} was trained again after {STAGE}: train {STAGE} again")
    networks = read_settings(NetworkPreset, published, "networks")
    context = StageContext(networks, read_parents(root, STAGE, config))
    lip = read_weights(folder / WEIGHTS_NAME, f"{STAGE} of run {run!r}")
    return LipEncodersScorer(run, LipEncoders(context, lip), device)


def load_named_lip_encoders(run: Path) -> LipEncodersScorer:
    """The scorer of a run by its name, or by `<root>/<run>` under another local root.

    Args:
        run: A bare name is looked up under PDFGC_ROOT.

    Raises:
        FileNotFoundError: there is no such root.
        ValueError: as `load_lip_encoders`.
    """
    if len(run.parts) == 1:
        return load_lip_encoders(open_root(), run.name)
    if not run.parent.is_dir():  # `open_root` would create it
        raise FileNotFoundError(f"no root {run.parent}; use the name of a run, or <root>/<run>")
    return load_lip_encoders(open_root(str(run.parent)), run.name)


def _batches(frames: Iterable[NDArray[np.uint8]]) -> Iterator[Tensor]:
    """Batches uint8 [n, 3, 224, 224]."""
    source, shape = iter(frames), (VIDEO_SIDE_PX, VIDEO_SIDE_PX, 3)
    while batch := list(islice(source, FRAMES_AT_ONCE)):
        wrong = next((frame.shape for frame in batch if frame.shape != shape), None)
        if wrong is not None:
            raise ValueError(f"frames must be {list(shape)}, got {list(wrong)}")
        yield torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
