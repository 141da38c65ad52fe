"""Measurements over checkpoints that train nothing."""
