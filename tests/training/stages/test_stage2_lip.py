import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from tests.factories.training.data import make_data_set
from tests.factories.training.stages import (
    context_on_stage1,
    parts_with_gradients,
    random_frames,
    row_facts,
)
from training.data.augmentation.pictures import MotionAugmentation
from training.data.augmentation.sound import SoundAugmentation
from training.data.batches import LipWindows, RowFacts
from training.data.index import read_clip_index
from training.data.lip_windows import LipWindowSettings
from training.engine.stage_weights import collect
from training.losses.codes.lip_contrastive import audio_to_video_loss, video_to_audio_loss
from training.stages.stage2_lip import LipStage, LipStageSettings, are_near, retrieves_own

ROWS, NEGATIVES = 4, 3


def make_batch(real: tuple[bool, ...] = (True,) * ROWS, seed: int = 0) -> LipWindows:
    generator = torch.Generator().manual_seed(seed)
    return LipWindows(
        row_facts(ROWS, real=real),
        frames=random_frames(ROWS, seed=seed),
        mels=torch.rand(ROWS, 1, 80, 20, generator=generator),
        negative_frames=random_frames(ROWS, NEGATIVES, seed=seed + 1),
        negative_mels=torch.rand(ROWS, NEGATIVES, 1, 80, 20, generator=generator),
        from_same_clip=(torch.arange(NEGATIVES) < 2).expand(ROWS, NEGATIVES),
        moments=far_moments(ROWS, NEGATIVES),
    )


def far_moments(rows: int, negatives: int) -> torch.Tensor:
    """A clip a row, and frames far from one another."""
    clips = torch.arange(rows)[:, None].expand(-1, 1 + negatives)
    return torch.stack([clips, 20 * torch.arange(1 + negatives).expand(rows, -1)], dim=2)


def make_stage(settings: LipStageSettings | None = None) -> LipStage:
    torch.manual_seed(0)
    return LipStage(context_on_stage1(), settings or LipStageSettings())


class FirstPixel(nn.Module):
    """A code of 8 numbers that tells the level of a frame's first pixel (0 to 7), whatever the trunk is."""

    @override
    def forward(self, frames: Tensor, facts: RowFacts) -> Tensor:
        del facts
        return nn.functional.one_hot(frames[:, :, 0, 0, 0].long(), 8).float()


class FirstBand(nn.Module):
    """The same of a spectrogram's first value."""

    @override
    def forward(self, mels: Tensor) -> Tensor:
        return nn.functional.one_hot((mels[:, 0, 0, 0] * 100).round().long(), 8).float()


def level_batch(levels: list[list[int]], sounds: list[list[int]], real: tuple[bool, ...]) -> LipWindows:
    """Rows whose frames and sounds (own first) have these levels."""
    batch = make_batch(real)
    frames = torch.tensor(levels).to(torch.uint8)[:, :, None, None, None].expand(-1, -1, 3, 32, 32)
    mels = (torch.tensor(sounds) / 100)[:, :, None, None, None].expand(-1, -1, 1, 80, 20)
    return dataclasses.replace(
        batch,
        frames=frames[:, 0],
        negative_frames=frames[:, 1:],
        mels=mels[:, 0],
        negative_mels=mels[:, 1:],
    )


def reading_stage() -> LipStage:
    """A stage whose encoders read the levels of `level_batch`."""
    stage = make_stage()
    stage.lip_model.motion_feature = FirstPixel()  # pyright: ignore[reportAttributeAccessIssue]
    stage.lip_model.to_mouth = nn.Sequential()
    stage.lip_model.audio = FirstBand()  # pyright: ignore[reportAttributeAccessIssue]
    return stage


def test_lip_stage_trains_both_encoders_only() -> None:
    stage = make_stage()
    result = stage.model.train()(make_batch())
    assert set(result.losses) == set(stage.loss_weights)
    sum(result.losses.values(), torch.zeros(())).backward()
    assert parts_with_gradients(stage.model) == {"to_mouth", "audio"}


def test_lip_stage_reaches_every_parameter() -> None:
    # A process group waits for ever for the gradient of a parameter that takes no part.
    stage = make_stage()
    sum(stage.model.train()(make_batch()).losses.values(), torch.zeros(())).backward()
    missing = [name for name, p in stage.model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


def test_lip_stage_saves_what_it_trains() -> None:
    stage = make_stage()
    saved = {name for name in collect(stage.saved) if name.endswith(("weight", "bias"))}
    trained = {
        name.replace("to_mouth", "motion.to_mouth", 1).replace("audio", "audio.model", 1)
        for name, parameter in stage.model.named_parameters()
        if parameter.requires_grad
    }
    assert trained == saved


def test_lip_stage_trunk_is_frozen() -> None:
    stage = make_stage()
    stage.model.train()
    before = collect({"trunk": stage.lip_model.motion_feature})
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=0.1)
    sum(stage.model(make_batch()).losses.values(), torch.zeros(())).backward()
    optimizer.step()
    torch.testing.assert_close(collect({"trunk": stage.lip_model.motion_feature}), before, rtol=0, atol=0)


def test_lip_stage_losses_match_reference() -> None:
    stage, batch = make_stage(LipStageSettings(temperature=0.25)), make_batch()
    model = stage.lip_model.eval()  # no batch statistics: every image by itself
    f_v = model.to_mouth(model.motion_feature(batch.frames[:, None], batch.facts)[:, 0])
    f_a = model.audio(batch.mels)
    f_v_negative = torch.stack(
        [model.to_mouth(model.motion_feature(row[None], batch.facts)[0]) for row in batch.negative_frames]
    )
    f_a_negative = torch.stack([model.audio(row) for row in batch.negative_mels])
    losses = stage.model(batch).losses
    torch.testing.assert_close(
        losses["audio_to_video"], audio_to_video_loss(f_a, f_v, f_v_negative, temperature=0.25)
    )
    torch.testing.assert_close(
        losses["video_to_audio"], video_to_audio_loss(f_v, f_a, f_a_negative, temperature=0.25)
    )


def test_lip_stage_with_negatives_from_batch() -> None:
    # Of 16 windows four are unlike all others: S = 1 to their own, 0 to 15. Levels 4, 5 and 6 come in every
    # row: S = 1 to their own and to three, 0 to twelve.
    levels = [[row, 4, 5, 6] for row in range(ROWS)]
    batch = level_batch(levels, levels, (True,) * ROWS)
    stage = reading_stage()
    own = stage.model(batch).losses["audio_to_video"].item()
    stage.lip_model.settings = LipStageSettings(negatives_from_batch=True)
    whole = stage.model(batch).losses
    assert own == pytest.approx(math.log(1 + 3 / math.e))
    expected = (4 * math.log(1 + 15 / math.e) + 12 * math.log(4 + 12 / math.e)) / 16
    assert whole["audio_to_video"].item() == pytest.approx(expected)
    assert whole["video_to_audio"].item() == pytest.approx(expected)


def test_near_windows_are_not_negatives() -> None:
    moments = torch.tensor([[7, 10], [8, 10], [7, 13]])
    assert not are_near(moments, gap_frames=3).any()
    near = are_near(moments, gap_frames=4)
    assert near.tolist() == [[False, False, True], [False, False, False], [True, False, False]]


def test_lip_stage_augments_frames_independently() -> None:
    batch = make_batch()
    same = dataclasses.replace(batch, negative_frames=batch.frames[:, None].expand(-1, NEGATIVES, -1, -1, -1))
    model = make_stage(LipStageSettings(augmentation=MotionAugmentation())).lip_model
    trained = model.train().features(same).video.detach()
    assert torch.pdist(trained[0]).min() > 1e-3
    looked_at = model.eval().features(same).video.detach()
    torch.testing.assert_close(looked_at[0], looked_at[0, :1].expand(1 + NEGATIVES, -1))


def test_lip_metric_of_perfect_encoders() -> None:
    levels = [[row, 7, 6, 5] for row in range(ROWS)]
    figures = {
        figure.name: figure
        for figure in reading_stage().held_out([level_batch(levels, levels, (True,) * ROWS)])
    }
    assert {name: (figure.value, figure.rows) for name, figure in figures.items()} == dict.fromkeys(
        (
            "lip retrieval top-1, sound to lips",
            "lip retrieval top-1, sound to lips, within the clip",
            "lip retrieval top-1, lips to sound",
            "lip retrieval top-1, lips to sound, within the clip",
        ),
        (1.0, ROWS),
    )
    both = figures["lip retrieval top-1, sound to lips"]
    within = figures["lip retrieval top-1, sound to lips, within the clip"]
    assert (both.chance, within.chance) == (1 / (1 + NEGATIVES), 1 / (1 + 2))
    assert (both.decides, within.decides) == (True, False)
    assert both.beats_chance


def test_lip_metrics_by_direction_and_scope() -> None:
    # Row 0: a frame of another clip (the third negative) looks like its own. Row 1: a sound of the same clip
    # sounds like its own. Row 2: all differ. Row 3 is padding.
    levels = [[0, 7, 6, 0], [1, 7, 6, 5], [2, 7, 6, 5], [3, 3, 3, 3]]
    sounds = [[0, 7, 6, 5], [1, 1, 6, 5], [2, 7, 6, 5], [3, 3, 3, 3]]
    batch = level_batch(levels, sounds, (True, True, True, False))
    figures = reading_stage().held_out([batch])
    assert {figure.name.removeprefix("lip retrieval top-1, "): figure.value for figure in figures} == {
        "sound to lips": 2 / 3,
        "sound to lips, within the clip": 1.0,
        "lips to sound": 2 / 3,
        "lips to sound, within the clip": 2 / 3,
    }
    assert {figure.rows for figure in figures} == {3}


def test_lip_metric_of_constant_encoders() -> None:
    nowhere = [[1] * (1 + NEGATIVES)] * ROWS
    figures = reading_stage().held_out([level_batch(nowhere, nowhere, (True,) * ROWS)])
    assert [figure.value for figure in figures] == [0.0] * 4


def test_retrieval_ignores_rounding() -> None:
    query = torch.tensor([[1.0, 0.0]])
    candidates = torch.tensor([[[1.0, 0.0], [1.0, 1e-4]]])  # cosines 1 and 1 - 5e-9
    assert not retrieves_own(query, candidates, torch.tensor([[True]]))
    assert retrieves_own(query, candidates, torch.tensor([[False]]))


def test_lip_metrics_without_negatives_of_the_clip() -> None:
    batch = make_batch()
    others = dataclasses.replace(batch, from_same_clip=torch.zeros_like(batch.from_same_clip))
    stage = make_stage()
    stage.model.eval()
    with torch.no_grad():
        names = [figure.name for figure in stage.held_out([others])]
    assert names == ["lip retrieval top-1, sound to lips", "lip retrieval top-1, lips to sound"]


def test_lip_metric_needs_a_real_row() -> None:
    with pytest.raises(ValueError, match="the held-out batches have no real row"):
        make_stage().held_out([make_batch(real=(False,) * ROWS)])


def test_lip_metrics_have_their_own_windows(tmp_path: Path) -> None:
    make_data_set(tmp_path)
    trained = LipWindowSettings(from_same_clip=1, from_other_clips=0)
    measured = LipWindowSettings(from_same_clip=2, from_other_clips=1)
    stage = make_stage(LipStageSettings(windows=trained, measured_windows=measured))
    folder = tmp_path / "assets" / "dataset"
    assert stage.source(read_clip_index(folder, tmp_path, "train")).settings == trained
    assert stage.source(read_clip_index(folder, tmp_path, "validation")).settings == measured


def test_lip_stage_losses_decrease() -> None:
    stage, batch = make_stage(LipStageSettings(temperature=0.1, negatives_from_batch=True)), make_batch()
    stage.model.train()
    optimizer = torch.optim.Adam([p for p in stage.model.parameters() if p.requires_grad], lr=3e-3)
    totals = list[float]()
    for _ in range(12):
        total = sum(stage.model(batch).losses.values(), torch.zeros(()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]


def test_lip_stage_changes_the_sound_in_training_alone() -> None:
    stage = make_stage(LipStageSettings(sound_augmentation=SoundAugmentation(probability=1.0)))
    plain, batch = make_stage(LipStageSettings()), make_batch()
    torch.testing.assert_close(
        stage.lip_model.eval().features(batch).audio, plain.lip_model.eval().features(batch).audio
    )
    changed, same = stage.lip_model.train().features(batch), plain.lip_model.train().features(batch)
    torch.testing.assert_close(changed.video, same.video)
    assert not torch.allclose(changed.audio, same.audio, atol=1e-3)
