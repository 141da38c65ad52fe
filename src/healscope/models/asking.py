"""The files by which all checkpoints of a study are asked: tokenizer, chat template, end tokens.

They are those of the last SFT checkpoint, as it was trained with them and a base often has no
template; where it has no tokenizer, those of the base.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from healscope.config import json_files
from healscope.errors import HealscopeError

TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja", "chat_template.json", "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
"""Files that turn text into token ids."""

END = "generation_config.json"
"""File that may name tokens that end an answer: asked for as the tokenizer is."""

_SETTINGS, _SPECIAL = TOKENIZER[1:3]
_TEMPLATE, _TEMPLATE_OF_PROCESSOR = TOKENIZER[4:6]


def vocabulary(place: Path) -> dict[str, int]:
    """Return token -> id, added ones included; without transformers, which imports slowly."""
    from tokenizers import Tokenizer

    file = place / TOKENIZER[0]
    try:
        return Tokenizer.from_file(str(file)).get_vocab()
    except Exception as error:  # of the library below: it has no class of its own
        reason = "is empty" if file.stat().st_size == 0 else f"cannot be read ({error})"
        raise HealscopeError(
            f"{file} {reason}; copy it there again, or save it with "
            "AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)"
        ) from None


def settings(place: Path) -> dict:
    """Return what a folder's tokenizer_config.json holds, with special tokens of either file."""
    files = (place / _SPECIAL, place / _SETTINGS)
    return {k: v for f in files if f.is_file() for k, v in _read(f).items()}


def _read(file: Path) -> dict:
    try:
        return json_files.read(file)
    except ValueError as error:
        raise HealscopeError(str(error)) from None


def special(place: Path, which: str) -> str | None:
    """Return a special token of a folder's tokenizer (`eos_token`, `pad_token`), or None."""
    found = settings(place).get(which)
    return found.get("content") if isinstance(found, dict) else found


def needed(place: Path) -> dict[str, int]:
    """Return token -> id of the tokens that may be fed: all, but one that only fills up batches."""
    pad = special(place, "pad_token")
    return {token: i for token, i in vocabulary(place).items() if token != pad}


def changes(place: Path, rows: int, end: str | None, named: Iterable[int | list[int] | None]):
    """Return what a tokenizer_config.json must say otherwise, and sentences that say so.

    `end`: text of the token that is to end answers (`models.*.end_token`); `named`: values of
    `eos_token_id` in the configs of the model, which has `rows` embeddings. Raises HealscopeError
    if there is no token that ends an answer, or no such one.
    """
    ids = vocabulary(place)
    found, notes = {}, []
    eos = special(place, "eos_token")
    if end is not None and end not in ids:
        raise HealscopeError(f"end_token: {end!r} is no token of {place / TOKENIZER[0]}")
    if end is not None and end != eos:
        eos = found["eos_token"] = end
    if eos is None:
        tokens = {i: token for token, i in ids.items()}
        ends = [i for v in named for i in (v if isinstance(v, list) else [v]) if i in tokens]
        if not ends:
            raise HealscopeError(
                f"the tokenizer in {place} names no token that ends an answer (eos_token), nor "
                "does the model's config.json or generation_config.json (eos_token_id); set "
                "models.*.end_token to it, as end_token: <|im_end|>"
            )
        eos = found["eos_token"] = tokens[ends[0]]
        notes.append(f"its tokenizer names no eos_token; {eos} is it, as the model's config says")
    pad = special(place, "pad_token")
    if pad is not None and ids.get(pad, rows) >= rows:
        notes.append(f"its pad token {pad} has no embedding; batches are filled up with {eos}")
    if pad is None or ids.get(pad, rows) >= rows:
        found["pad_token"] = eos
    templates = settings(place).get("chat_template")
    if isinstance(templates, list) and not (place / _TEMPLATE).is_file():
        by_name = {t.get("name"): t.get("template") for t in templates if isinstance(t, dict)}
        if "default" not in by_name:
            raise HealscopeError(
                f"{place / _SETTINGS} has chat templates {', '.join(map(str, by_name))} and none "
                f"called default; write the one that SFT used to {_TEMPLATE} there"
            )
        found["chat_template"] = by_name["default"]
    of_processor = place / _TEMPLATE_OF_PROCESSOR
    if templates is None and not (place / _TEMPLATE).is_file() and of_processor.is_file():
        found["chat_template"] = _read(of_processor).get("chat_template")
        notes.append(f"its chat template is that of {_TEMPLATE_OF_PROCESSOR}")
    if isinstance(templates, str) and templates.strip() != _of_file(place, templates).strip():
        notes.append(
            f"it has two chat templates; that of {_TEMPLATE} counts, as in transformers, and not "
            f"that of {_SETTINGS}"
        )
    return found, notes


def _of_file(place: Path, otherwise: str) -> str:
    file = place / _TEMPLATE
    return file.read_text(encoding="utf-8") if file.is_file() else otherwise


def write_changed(place: Path, target: Path, found: dict) -> list[Path]:
    """Write the tokenizer's settings to `target` with the changes `found`; return the files."""
    content = {**settings(place), **found}
    file = target / _SETTINGS
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    return [file]


def rewritten(found: dict) -> set[str]:
    """Return the names of the files that are written anew where there are changes."""
    return {_SETTINGS, _SPECIAL} if found else set()
