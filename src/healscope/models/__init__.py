"""Weights under names: tokens, checkpoints on disk, and variants of them."""
