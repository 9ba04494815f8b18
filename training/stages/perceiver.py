"""The frozen network that stands for φ, ψ and 𝒢."""

from models.perception import PerceptionNetwork
from training.stages.stage import StageContext


def perceiver_of(context: StageContext) -> PerceptionNetwork:
    """The perception network that the stage `perception` left.

    Raises:
        ValueError: its weights do not fit the preset's network.
    """
    network = PerceptionNetwork(context.networks.perception)
    context.parents["perception"].load_into("perception", network)
    return network
