"""Presets of toy size, as the evaluation's tests have them."""

from tests.evaluation.conftest import toy_presets

__all__ = ["toy_presets"]
