import math

import pytest
import torch

from training.losses.codes.lip_contrastive import audio_to_video_loss, video_to_audio_loss

UP, DOWN, RIGHT = [0.0, 3.0], [0.0, -2.0], [5.0, 0.0]


def test_lip_losses_use_negatives_of_the_other_modality() -> None:
    f_a, f_v = torch.tensor([UP]), torch.tensor([UP])
    # The sound: S = 1 to its lips, −1 and 0 to the negatives; the lips: 1 to their sound, −1 to the negative.
    a2v = audio_to_video_loss(f_a, f_v, torch.tensor([[DOWN, RIGHT]]))
    v2a = video_to_audio_loss(f_v, f_a, torch.tensor([[DOWN]]))
    assert a2v.item() == pytest.approx(math.log(1 + math.exp(-2) + math.exp(-1)))
    assert v2a.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_lip_losses_use_their_own_query() -> None:
    f_a, f_v, negative = torch.tensor([UP]), torch.tensor([RIGHT]), torch.tensor([[UP]])
    # S(f_a, f_v) = 0 both ways; the negative lies on f_a (S = 1) and across f_v (S = 0).
    assert audio_to_video_loss(f_a, f_v, negative).item() == pytest.approx(math.log(1 + math.e))
    assert video_to_audio_loss(f_v, f_a, negative).item() == pytest.approx(math.log(2))


def test_lip_losses_apply_the_temperature() -> None:
    f_a, f_v, negative = torch.tensor([UP]), torch.tensor([RIGHT]), torch.tensor([[UP]])
    expected = math.log(1 + math.exp(1 / 0.25))
    assert audio_to_video_loss(f_a, f_v, negative, temperature=0.25).item() == pytest.approx(expected)
    assert video_to_audio_loss(f_a, f_v, negative, temperature=0.25).item() == pytest.approx(expected)


def test_lip_losses_reach_both_encoders() -> None:
    for loss in (audio_to_video_loss, video_to_audio_loss):
        query = torch.randn(3, 4, requires_grad=True)
        positive = torch.randn(3, 4, requires_grad=True)
        negatives = torch.randn(3, 2, 4, requires_grad=True)
        loss(query, positive, negatives).backward()
        for features in (query, positive, negatives):
            assert features.grad is not None
            assert features.grad.abs().max() > 0
