"""Thin SVDs of weight matrices, comparisons of two checkpoints, and edits between them."""

from importlib import import_module

_PUBLIC = {"compare_folders": "compare", "load": "factors"}
__all__ = ["compare_folders", "load"]


def __getattr__(name: str):
    """The public functions, imported when they are asked for: a process that only needs a name
    from here need not load torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
