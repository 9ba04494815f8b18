"""What a step computes over the rows of all processes: gathered features, statistics of batch normalisation.

With these, a step of R processes of B rows is that of one process of R B rows. Gradients are those that DDP's
mean over the processes turns into the gradient of the mean loss, whether each process computes the loss of
its own rows or all compute the same loss of all rows.

Every process has the same number of rows (`training.data.sampling`).
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from typing_extensions import override


class _GatherRows(Function):
    """Concatenate over ranks; the gradient of a row is the sum of its gradients on all ranks."""

    @staticmethod
    @override
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank() * ctx.rows :][: ctx.rows]


class _MeanOverRanks(Function):
    """The mean over ranks, of the value and of its gradient."""

    @staticmethod
    @override
    def forward(ctx: Any, value: Tensor) -> Tensor:
        del ctx
        return _mean(value)

    @staticmethod
    @override
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return _mean(gradients[0])


def _mean(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()


def gather_rows(rows: Tensor) -> Tensor:
    """[B, …] of each process -> [R B, …] on all, in the order of the ranks; differentiable."""
    return _GatherRows.apply(rows.contiguous())


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation with the statistics of all processes' rows, on any device.

    `nn.SyncBatchNorm` is faster and runs on GPUs alone.
    """

    @override
    def _check_input_dim(self, input: Tensor) -> None:
        del input  # any [B, C, …]

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Normalise [B, C, …]."""
        if not self.training:
            return super().forward(input)
        assert self.momentum is not None
        others = [dimension for dimension in range(input.ndim) if dimension != 1]
        per_channel = [1, -1] + [1] * (input.ndim - 2)
        values = input.float()
        mean: Tensor = _MeanOverRanks.apply(values.mean(others))
        centred = values - mean.view(per_channel)
        variance: Tensor = _MeanOverRanks.apply(centred.square().mean(others))
        if self.running_mean is not None and self.running_var is not None:
            count = input.numel() // input.shape[1] * dist.get_world_size()
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        normalised = centred * torch.rsqrt(variance + self.eps).view(per_channel)
        if self.affine:
            normalised = normalised * self.weight.view(per_channel) + self.bias.view(per_channel)
        return normalised.to(input.dtype)


def use_global_statistics(module: nn.Module, device: torch.device) -> None:
    """Replace the batch normalisation within a module by one over all processes, in place.

    Parameters, buffers and their names stay.
    """
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, GlobalBatchNorm):
                setattr(parent, name, _with_global_statistics(child))


def _with_global_statistics(layer: _BatchNorm) -> GlobalBatchNorm:
    copy = GlobalBatchNorm(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    copy.weight, copy.bias = layer.weight, layer.bias
    copy.running_mean, copy.running_var = layer.running_mean, layer.running_var
    copy.num_batches_tracked = layer.num_batches_tracked
    return copy.train(layer.training)
