"""JSON files of models that users have."""

import json
from pathlib import Path


def read(file: Path) -> dict:
    """Read a JSON file of a user's model; raises ValueError with advice for its owner.

    `provenance.read_json` would advise to delete it, as one of a study's own results.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        size = file.stat().st_size if file.is_file() else 0
        reason = f"is cut short or no JSON ({error})" if size else "is empty"
        raise ValueError(
            f"{file} {reason}; copy it there again from where the model came from, or save the "
            "model again"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no JSON object; copy it there again")
    return content
