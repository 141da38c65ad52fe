"""Thin SVDs of weight matrices, comparisons of two checkpoints, and edits between them."""
