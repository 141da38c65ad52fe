"""healscope: what supervised fine-tuning forgets, what reinforcement learning heals, and where."""

__version__ = "0.1.0"
