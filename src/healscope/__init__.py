"""healscope: what supervised fine-tuning forgets, what reinforcement learning heals, and where."""

__version__ = "1.0.0"
