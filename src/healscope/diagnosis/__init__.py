"""What a handful of checkpoints shows: numbers (`measure`) and the page that says them (`page`)."""

PARTS = ("peak", "lost", "rl", "rotation", "repair")
"""Sections of the page."""
