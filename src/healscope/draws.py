"""Random numbers by name: what is drawn hangs on the name of its stream and on nothing else."""

import torch

from healscope.provenance import fingerprint


def seeded(*stream: int | str) -> torch.Generator:
    """A CPU generator for one named stream of numbers, e.g. (seed, purpose, iteration)."""
    digest = fingerprint(list(stream))
    return torch.Generator().manual_seed(int(digest[:15], 16))
