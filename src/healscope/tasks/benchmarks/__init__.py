"""Benchmarks of lm-evaluation-harness as tasks."""
