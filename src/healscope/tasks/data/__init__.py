"""A user's own files as a task (docs/your-data.md)."""
