"""Pretraining, SFT and RL. Each run can be killed at any moment and resumed."""
