"""Regular expressions that take linear time, whatever text they meet (RE2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=4096)
def pattern(text: str) -> Any:
    """Compile a regular expression of RE2.

    Raises ValueError on what RE2 cannot match, such as references back and looks ahead.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0] if error.args else "unknown"
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"it is not a regular expression of RE2 ({said})") from None


def last_match(compiled: Any, text: str) -> str | None:
    """Return the first group, or all, of the last match in a text; None if nothing matches."""
    found = [None, *compiled.finditer(text)][-1]
    if found is None:
        return None
    return found.group(1) if compiled.groups and found.group(1) is not None else found.group(0)
