"""What runs in the environment of vLLM, and imports nothing of healscope's."""
