import pytest
import torch
from torch import Tensor, nn

from models.motion import MotionEncoder
from tests.factories.training.stages import (
    TOY,
    TOY_SIDE_PX,
    context_on_stage1,
    random_frames,
    row_facts,
    toy_weights,
)
from training.data.augmentation.pictures import MotionAugmentation, augment_motion
from training.data.frames import to_network_input
from training.stages.encoders import MotionFeature, frame_seeds, motion_encoder_on_stage1


def state_of(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items()}


def test_motion_encoder_has_stage1s_trunk() -> None:
    trained = MotionEncoder(TOY.motion)
    context = context_on_stage1(toy_weights({"motion.model": trained.model}))
    torch.testing.assert_close(
        state_of(motion_encoder_on_stage1(context).model), state_of(trained.model), rtol=0, atol=0
    )


def test_weights_without_trunk_are_rejected() -> None:
    context = context_on_stage1(toy_weights({"motion.to_eye": MotionEncoder(TOY.motion).to_eye}, "other"))
    with pytest.raises(ValueError, match=r"other: motion\.model does not fit LandmarkTrunk"):
        motion_encoder_on_stage1(context)


def test_motion_feature_trunk_is_frozen() -> None:
    motion = MotionEncoder(TOY.motion)
    network = MotionFeature(motion).train()
    before = state_of(network)
    frames = random_frames(4)
    feature = network(frames[:, None], row_facts(4))[:, 0]
    # Neither dropout nor the batch's own statistics: the same as in evaluation mode, and no buffer moves.
    expected = motion.model.eval()(to_network_input(frames, TOY_SIDE_PX))
    torch.testing.assert_close(feature, expected)
    torch.testing.assert_close(state_of(network), before, rtol=0, atol=0)
    assert not feature.requires_grad
    assert not [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def test_motion_feature_augments_in_training_only() -> None:
    motion, settings, frames = MotionEncoder(TOY.motion), MotionAugmentation(), random_frames(2, 3)
    network, facts = MotionFeature(motion, settings), row_facts(2)
    images = to_network_input(frames.flatten(0, 1), TOY_SIDE_PX)
    changed = motion.model(augment_motion(images, frame_seeds(facts.seeds, 3), settings))
    torch.testing.assert_close(network.train()(frames, facts).flatten(0, 1), changed)
    torch.testing.assert_close(network.eval()(frames, facts).flatten(0, 1), motion.model(images))
    assert not torch.allclose(changed, motion.model(images), atol=1e-3)


def test_frame_seeds_are_distinct() -> None:
    greatest = 2**63 - 1
    assert frame_seeds([5, greatest], 2) == [5, 5 + 2**63, greatest, greatest + 2**63]
