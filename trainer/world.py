"""One process or several that train the same weights, each on its share of every update.

`torchrun` and `accelerate launch` start the processes and name them in the environment. Each holds the whole model;
gradients are summed once per update, so a process may have any number of groups, none too. Sums over the update are
normalised before, so that n processes compute what one would, up to the order of float additions.

Tested with two CPU processes over gloo. Not covered: weights split over processes (FSDP, DeepSpeed).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch


class World:
    """The processes of this run. Without a launcher: this one, and every method is the identity."""

    def __init__(self, device: torch.device) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.size > 1:
            import torch.distributed

            if device.type == "cuda":
                # What is gathered and waited for goes through the current device: one for each process.
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """True in the one process that writes files and events."""
        return self.rank == 0

    def share(self, items: list) -> list:
        """Every size-th item."""
        return items[self.rank :: self.size]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its sum over the processes; a process that had nothing to do adds zeros."""
        if self.size == 1:
            return
        parameters = list(parameters)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for dtype in {parameter.grad.dtype for parameter in parameters}:
            grads = [parameter.grad for parameter in parameters if parameter.grad.dtype == dtype]
            flat = torch.cat([grad.flatten() for grad in grads])
            torch.distributed.all_reduce(flat)
            for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
                grad.copy_(part.view_as(grad))

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, in the order of their ranks, on the CPU."""
        rows = rows.detach().cpu()
        if self.size == 1:
            return rows
        parts: list = [None] * self.size
        torch.distributed.all_gather_object(parts, rows)
        return torch.cat(parts)

    def any(self, flag: bool) -> bool:
        """True where it is true in any process."""
        return bool(self.gather(torch.tensor([flag])).any())

    def wait(self) -> None:
        """Returns once every process is here."""
        if self.size > 1:
            torch.distributed.barrier()

    def close(self) -> None:
        if self.size > 1:
            torch.distributed.destroy_process_group()
