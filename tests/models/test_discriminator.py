import torch
from torch.nn import functional

from models.discriminator import DiscriminatorConfig, MultiScaleDiscriminator, PatchDiscriminator
from models.presets import OFFICIAL, TINY
from tests.factories.models.weights import parameter_count


def test_official_discriminator_size() -> None:
    with torch.device("meta"):
        discriminator = MultiScaleDiscriminator(OFFICIAL.discriminator)
    assert parameter_count(discriminator) == 5_527_682
    assert len(discriminator.state_dict()) == 26


def test_layers_halve_three_times() -> None:
    with torch.device("meta"):
        fine, coarse = MultiScaleDiscriminator(OFFICIAL.discriminator)(torch.zeros(2, 3, 224, 224))
    assert [tuple(maps.shape[1:3]) for maps in fine.features] == [(64, 113), (128, 57), (256, 29), (512, 30)]
    assert fine.score.shape == (2, 1, 31, 31)
    assert [maps.shape[2] for maps in coarse.features] == [57, 29, 15, 16]


def test_second_scale_input_is_average_pooled() -> None:
    discriminator = MultiScaleDiscriminator(TINY.discriminator).eval()
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    halved = torch.zeros(1, 3, 8, 8)
    for row in range(8):
        for column in range(8):
            rows = slice(max(2 * row - 1, 0), 2 * row + 2)
            columns = slice(max(2 * column - 1, 0), 2 * column + 2)
            halved[:, :, row, column] = image[:, :, rows, columns].mean((2, 3))
    with torch.no_grad():
        coarse = discriminator(image)[1]
        torch.testing.assert_close(coarse.score, discriminator.scales[1](halved).score)


def test_layer_matches_reference() -> None:
    network = PatchDiscriminator(TINY.discriminator)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        for _ in range(200):  # every step in training refines the estimate of the norm
            network(image)
        network.eval()
        weight = network.get_submodule("layers.1.0").weight
        assert isinstance(weight, torch.Tensor)
        torch.testing.assert_close(
            torch.linalg.matrix_norm(weight.flatten(1), ord=2), torch.tensor(1.0), rtol=1e-3, atol=0
        )
        first, second, _ = network(image).features
        maps = functional.conv2d(first, weight, stride=2, padding=2)
        deviation = (maps.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        maps = (maps - maps.mean((2, 3), keepdim=True)) / deviation
        torch.testing.assert_close(second, torch.where(maps < 0, 0.2 * maps, maps), rtol=1e-3, atol=1e-4)


def test_spectral_norm_can_be_disabled() -> None:
    config = DiscriminatorConfig(layer_count=2, filters=4, largest_filters=8, spectral_norm=False)
    keys = MultiScaleDiscriminator(config).state_dict()
    assert not [key for key in keys if "parametrizations" in key]
