"""How near a remade frame comes to the driving one, and how near copying the appearance would."""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from training.stages.stage import Figure

_RANGE = 2.0  # of pictures in [-1, 1]


@dataclass
class ReconstructionTally:
    """PSNR (dB) and SSIM of each picture, as torchmetrics has them (SSIM: Gaussian 11 x 11, sigma 1.5)."""

    _values: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, generated: Tensor, driving: Tensor, appearance: Tensor) -> None:
        """Count pictures [B, 3, S, S] in [-1, 1]."""
        for name, pictures in (("generated", generated), ("copied", appearance)):
            psnr = peak_signal_noise_ratio(
                pictures, driving, data_range=_RANGE, reduction="none", dim=(1, 2, 3)
            )
            ssim = structural_similarity_index_measure(pictures, driving, data_range=_RANGE, reduction="none")
            assert isinstance(ssim, Tensor)
            self._values.setdefault(f"psnr {name}", []).append(psnr.cpu())
            self._values.setdefault(f"ssim {name}", []).append(ssim.cpu())

    def figures(self) -> list[Figure]:
        """Means over all pictures; what copying reaches stands as chance."""
        means = {name: float(torch.cat(values).mean()) for name, values in self._values.items()}
        rows = len(torch.cat(self._values["psnr generated"]))
        return [
            Figure(
                "PSNR",
                means["psnr generated"],
                means["psnr copied"],
                higher_is_better=True,
                unit=" dB",
                rows=rows,
            ),
            Figure("SSIM", means["ssim generated"], means["ssim copied"], higher_is_better=True, rows=rows),
        ]
