"""Pretrained weights of the labeller backends that the preprocessing settings select."""

from collections.abc import Iterable

from preprocessing.labellers.weights import LabellerWeights
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, step_named
from weights.resolve import pretrained_weights_json, resolve_weights


def labeller_weights(
    settings: PreprocessingSettings, steps: Iterable[str] | None = None
) -> dict[str, LabellerWeights]:
    """Step -> the weights of its backend, for the steps whose backend needs any.

    Args:
        settings: of preprocessing.
        steps: only these; default all.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a setting does not take the weights, their licence was not accepted, or a file is not the
            expected one.
    """
    weights: dict[str, LabellerWeights] = {}
    for name in STEPS if steps is None else steps:
        wanted = step_named(name).weights(settings)
        file = None if wanted is None else resolve_weights(wanted.told, wanted.setting)
        if file is not None:
            weights[name] = LabellerWeights(file.path, file.sha256, pretrained_weights_json([file]))
    return weights
