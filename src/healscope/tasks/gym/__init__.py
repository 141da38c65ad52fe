"""Data sets of reasoning-gym as tasks."""
