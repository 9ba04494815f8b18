import pytest
import torch

from models.generator import Generator, GeneratorConfig
from models.shapes import to_channels_last
from tests.factories.models.weights import randomise


def test_to_channels_last_keeps_the_generators_output() -> None:
    generator = Generator(GeneratorConfig(style_width=10, start_side_px=7, channels=(6, 4, 3))).eval()
    randomise(generator, seed=19)
    style, appearance_map = torch.randn(2, 10), torch.randn(2, 6, 7, 7)
    with torch.no_grad():
        before = generator(style, appearance_map, noise="off")
        with pytest.raises(RuntimeError, match="rank 4"):
            generator.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] -- undeclared
        assert to_channels_last(generator) is generator
        after = generator(style, appearance_map.contiguous(memory_format=torch.channels_last), noise="off")
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_to_channels_last_changes_4d_weights() -> None:
    network = to_channels_last(torch.nn.Sequential(torch.nn.Conv2d(4, 5, 3), torch.nn.BatchNorm2d(5)))
    weight = network.get_parameter("0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
