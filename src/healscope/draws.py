"""Random generators that are seeded by their name alone."""

import torch

from healscope.provenance import fingerprint


def seeded(*stream: int | str) -> torch.Generator:
    """Return a CPU generator for a named stream of numbers, e.g. (seed, purpose, iteration)."""
    digest = fingerprint(list(stream))
    return torch.Generator().manual_seed(int(digest[:15], 16))
