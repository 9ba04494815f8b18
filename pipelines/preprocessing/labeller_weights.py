"""Outside weights of the labeller backends that a deployment's settings choose, found by name or by path."""

from collections.abc import Iterable

from preprocessing.labellers.weights import LabellerWeights
from preprocessing.orchestration.steps import STEPS, PreprocessingSettings, step_named
from weights.resolve import outside_file, outside_weights_text


def labeller_weights(
    settings: PreprocessingSettings, steps: Iterable[str] | None = None
) -> dict[str, LabellerWeights]:
    """Step -> the weights that its backend runs; only steps whose backend runs any.

    Args:
        settings: that choose the backends.
        steps: to look at, all by default; weights that another step's backend misses are not asked for.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a setting does not take that set, its licence was not accepted, or a file is not what it
            should be.
    """
    found: dict[str, LabellerWeights] = {}
    for name in STEPS if steps is None else steps:
        wanted = step_named(name).weights(settings)
        file = None if wanted is None else outside_file(wanted.told, wanted.setting)
        if file is not None:
            found[name] = LabellerWeights(file.path, file.sha256, outside_weights_text([file]))
    return found
