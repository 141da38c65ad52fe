"""Communication between the processes of one training run; with one process these do nothing.

All processes have to make the same calls in the same order. Objects are pickled only between
processes that one job has started; no file holds a pickle of ours.
"""

from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Return whether this is the process that writes files, logs and draws the progress bar."""
    return rank() == 0


def wait() -> None:
    """Wait until all processes have come to this call."""
    if size() > 1:
        dist.barrier()


def own(items):
    """Return this process's share of rows: equal consecutive shares, in the order of ranks."""
    n, r = size(), rank()
    return items[len(items) * r // n : len(items) * (r + 1) // n]


def joined(items: list[T]) -> list[T]:
    """Return the lists of all processes, one after another: the inverse of `own`."""
    if size() == 1:
        return items
    parts: list = [None] * size()
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def agreed(value: T) -> T:
    """Return the first process's value, so that all processes decide alike."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def mean(value: float, weight: float) -> float:
    """Return the weighted mean over processes; a process without rows has weight 0."""
    if size() == 1:
        return value
    both = joined([(value, weight)])
    return sum(v * w for v, w in both if w) / sum(w for _, w in both)


def total(value: torch.Tensor) -> torch.Tensor:
    """Return the sum over processes."""
    if size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def copied(module: torch.nn.Module) -> None:
    """Copy the first process's parameters to all processes."""
    if size() > 1:
        for parameter in module.parameters():
            dist.broadcast(parameter.data, src=0)
