"""Which dimensions of the codes follow labels where a stage's `readout` has a weight."""

from typing import Final

EYE_DIMENSIONS: Final = (2, 3, 0, 1)
"""Of the eye code, for gaze pitch and yaw, and the blinks of both eyes: those of the released network."""
EYE_SCALES: Final = (0.1, 0.1, 0.3, 0.3)
"""Change of each label that counts as 1: rad, rad, fractions of a blink. Ours: about a standard deviation."""
EXPRESSION_SCALES_CM: Final = (0.12, 0.12)
"""The same of smile and brow raise, dimensions 0 and 1 of the expression code; ours."""
