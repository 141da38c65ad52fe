"""Embeddings and output layers of models whose vocabularies have other numbers of tokens.

A study asks all checkpoints in one skeleton, so all have as many rows. Rows that no token of the
study's tokenizer needs (padding to a multiple of 64) are left out; those that a checkpoint lacks,
since tokens were added after it, are the mean of its others, which is where the centre of what
`resize_token_embeddings` of transformers draws lies.
"""

import torch


def fitted(tensor: torch.Tensor, rows: int | None) -> torch.Tensor:
    """Return `tensor` (n, ...) with its first `rows` rows, or with rows of its mean after them."""
    if rows is None or len(tensor) == rows:
        return tensor
    if len(tensor) > rows:
        return tensor[:rows].clone()
    mean = tensor.float().mean(0, keepdim=True).to(tensor.dtype)
    return torch.cat([tensor, mean.expand(rows - len(tensor), *tensor.shape[1:])])


def note(own: int, rows: int) -> str:
    """Return the sentence about a checkpoint with `own` rows that is read with `rows`."""
    if own > rows:
        return (
            f"its vocabulary has {own} rows, of which the first {rows} are read: no token of the "
            "study's tokenizer needs the others"
        )
    return (
        f"its vocabulary has {own} rows and is read with {rows}: tokens were added after it, and "
        "their rows are the mean of its others"
    )
