"""The generator's noise, held at nothing where a run is too short to learn what it is for."""

from models.generator import Generator
from models.modulated_convolution import NoiseStrength


def hold_noise_at_zero(generator: Generator) -> None:
    """Keep the noise's strengths, which begin at zero, from training: the pictures then hold none.

    Feature losses against networks that know little reward any texture, and noise is the nearest: at preset
    `tiny_cpu` it costs a picture more than it gives (docs/log.md).
    """
    for module in generator.modules():
        if isinstance(module, NoiseStrength):
            module.requires_grad_(requires_grad=False)
