"""Figures of inference: frames per CPU second of `animate`'s networks, and of the LSE scorer."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.measuring import cost_of
from benchmarks.preprocessing.lip_sync_scoring import DecodedInput, embed_by_window, embed_clip
from benchmarks.suite.figures import Figure
from evaluation.animation.eye_parts import OFFICIAL_EYE_PARTS
from evaluation.animation.loading import ReleasedNetworks, load_talking_head
from evaluation.animation.postprocessing import OFFICIAL_POSTPROCESSING
from evaluation.animation.rendering import AnimationInputs, render_frames
from evaluation.animation.request import Strengths
from evaluation.animation.talking_head import TalkingHead
from evaluation.metrics.lip_sync.syncnet import SyncNetScorer
from models.appearance import AppearanceEncoder
from models.audio import AudioEncoder
from models.checkpoint_file import LoadReport
from models.external.syncnet import SyncNet
from models.generator import Generator
from models.motion import MotionEncoder
from models.official import OfficialNetworks
from models.presets import preset_named
from storage.root import open_root

FRAMES_AT_ONCE: Final = 8
SAMPLES_PER_FRAME: Final = 640
UNIT: Final = "frames/CPU s"


def official_head() -> TalkingHead:
    """The released networks' layout with random weights: speed does not depend on them."""
    preset, nothing = preset_named("official"), LoadReport(Path(), (), (), ())
    networks = OfficialNetworks(
        AppearanceEncoder(preset.appearance).eval(),
        MotionEncoder(preset.motion).eval(),
        AudioEncoder(preset.audio).eval(),
        Generator(preset.generator).eval(),
        reports=(nothing, nothing, nothing, nothing),
    )
    released = ReleasedNetworks(networks)
    place = torch.device("cpu")
    return TalkingHead("random", released, OFFICIAL_POSTPROCESSING, 1, OFFICIAL_EYE_PARTS, place)


def animation(rounds: int) -> list[Figure]:
    """From a portrait crop and sound, one thread; files are neither read nor written."""
    heads = {
        "starter": (load_talking_head("starter", open_root(), "cpu"), 16),
        "official layout": (official_head(), 2),
    }
    rng = np.random.default_rng(0)
    portrait = rng.integers(0, 256, (224, 224, 3)).astype(np.uint8)
    figures: list[Figure] = []
    for name, (head, frames) in heads.items():
        sound = rng.normal(0.0, 0.1, frames * SAMPLES_PER_FRAME).astype(np.float32)
        inputs = AnimationInputs[Any](portrait, sound, {}, frames)
        rates = [
            frames / _seconds(lambda head=head, inputs=inputs: _render(head, inputs))
            for _ in range(rounds + 1)
        ]
        figures.append(Figure(f"animate, {name}", statistics.median(rates[1:]), UNIT))
    return figures


def _render(head: TalkingHead, inputs: AnimationInputs[Any]) -> list[NDArray[np.uint8]]:
    return list(render_frames(head, inputs, Strengths(), FRAMES_AT_ONCE))


def scoring(rounds: int) -> list[Figure]:
    """LSE by whole clips over windows one by one, as the published program has them."""
    frames, rng = 16, np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (frames, 224, 224, 3)).astype(np.uint8))
    clip = DecodedInput(pictures, rng.normal(0.0, 0.1, frames * SAMPLES_PER_FRAME).astype(np.float32))
    network, device = SyncNet().eval(), torch.device("cpu")
    scorer = SyncNetScorer(network, device)
    ours, windows = (
        [frames / _seconds(work) for _ in range(rounds)]
        for work in (
            lambda: embed_clip(scorer, clip),
            lambda: embed_by_window(network, clip, device),
        )
    )
    ratios = tuple(a / b for a, b in zip(ours, windows, strict=True))
    others = statistics.median(windows)
    return [Figure("LSE scoring", statistics.median(ours), UNIT, "window by window", others, ratios)]


def _seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call: unlike its time, other jobs hardly change them."""
    return cost_of(work).cpu_seconds
