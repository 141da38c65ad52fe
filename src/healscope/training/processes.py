"""The processes of one training run; a run of one process talks to nobody.

All processes have to come to the same calls in the same order. Objects travel pickled, between
processes that one job has started and over the process group alone; no file holds a pickle of ours.
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
    """Whether this is the process that writes files, logs and draws the progress bar."""
    return rank() == 0


def wait() -> None:
    """Until all are here."""
    if size() > 1:
        dist.barrier()


def own(items):
    """This process's part of rows: equal runs, one after another in the order of processes."""
    n, r = size(), rank()
    return items[len(items) * r // n : len(items) * (r + 1) // n]


def joined(items: list[T]) -> list[T]:
    """The lists of all processes, one after another: the inverse of `own`."""
    if size() == 1:
        return items
    parts: list = [None] * size()
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def agreed(value: T) -> T:
    """What the first process says: for values that decide how all go on."""
    if size() == 1:
        return value
    said = [value]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def mean(value: float, weight: float) -> float:
    """Mean over processes, by weight; a process without rows has weight 0."""
    if size() == 1:
        return value
    both = joined([(value, weight)])
    return sum(v * w for v, w in both if w) / sum(w for _, w in both)


def total(value: torch.Tensor) -> torch.Tensor:
    """Sum over processes."""
    if size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def copied(module: torch.nn.Module) -> None:
    """Gives all processes the first one's parameters."""
    if size() > 1:
        for parameter in module.parameters():
            dist.broadcast(parameter.data, src=0)
