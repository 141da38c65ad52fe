"""Read a file of rows: JSONL, JSON, CSV, TSV, Parquet, a `datasets` folder, or a data set of a hub.

A row is a mapping from names of fields to plain values, with the line that it stands on. Errors
name the file, the line and what to do. Nothing here knows what the rows are for, and nothing in a
file is executed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from healscope.errors import HealscopeError, one_line
from healscope.provenance import sha256

SHIPPED = "healscope:"
"""Beginning of the name of a file that comes with healscope."""
_SHIPPED = Path(__file__).parent / "shipped"
_HUB = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?(@[\w./-]+)?")


class Row(NamedTuple):
    """A row and the line it stands on, from 1; in Parquet and `datasets` its number."""

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Sheet:
    """The rows of one source.

    Attributes:
        source: as the config names it.
        unit: what `Row.line` counts: "line" or "row".
    """

    source: str
    unit: str
    rows: tuple[Row, ...]

    def where(self, row: Row) -> str:
        """Say where a row is, for messages."""
        return f"{self.source}, {self.unit} {row.line}"


def digest(source: str) -> str:
    """Return the hash of what a source holds: the bytes of its files, or the rows of a hub.

    Raises HealscopeError where there is nothing.
    """
    place = _place(source)
    if place is None:
        rows = _of_hub(source)
        text = "\n".join(json.dumps(r.values, sort_keys=True, default=str) for r in rows)
        return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if place.is_file():
        return "sha256:" + sha256(place)
    whole = hashlib.sha256(source.partition("#")[2].encode())
    for file in sorted(f for f in place.rglob("*") if f.is_file()):
        whole.update(f"{file.relative_to(place)} {sha256(file)}\n".encode())
    return "sha256:" + whole.hexdigest()


def read(source: str, known: str | None = None) -> Sheet:
    """Read the rows of a source; raises HealscopeError where it is broken, or has none.

    Args:
        source: a file, a folder that `datasets` saved, or a hub id as `owner/name:config@revision`;
            of the last two, `#split` at the end names one of several splits. A relative path starts
            where Snakemake runs.
        known: the source's `digest`, if it has just been taken; the same bytes are read once.
    """
    return _read(source, known or digest(source))


@lru_cache(maxsize=32)
def _read(source: str, known: str) -> Sheet:  # noqa: ARG001
    place = _place(source)
    if place is None:
        rows, unit = _of_hub(source), "row"
    elif place.is_dir():
        rows, unit = _of_folder(source, place), "row"
    else:
        kind = place.suffix.lower()
        if kind not in _READERS:
            raise HealscopeError(
                f"{source}: files ending with '{kind}' cannot be read, only "
                f"{', '.join(_READERS)}; convert it"
            )
        reader, unit = _READERS[kind]
        rows = list(reader(source, place))
    if not rows:
        raise HealscopeError(f"{source}: the file is empty, it has no rows; name another file")
    return Sheet(source, unit, tuple(rows))


def is_file(source: str) -> bool:
    """Return whether a source is a file or folder that is there."""
    place = Path(source.partition("#")[0]).expanduser()
    return place.is_file() or place.is_dir()


def _place(source: str) -> Path | None:
    """Return the file or folder of a source; None where it is an id of a hub."""
    if source.startswith(SHIPPED):
        path = _SHIPPED / f"{source.removeprefix(SHIPPED)}.jsonl"
        if not path.is_file():
            there = ", ".join(sorted(file.stem for file in _SHIPPED.glob("*.jsonl")))
            raise HealscopeError(f"{source}: no such set comes with healscope, only {there}")
        return path
    path = Path(source.partition("#")[0]).expanduser()
    if is_file(source):
        return path
    if not path.suffix and _HUB.fullmatch(source.partition("#")[0]):
        return None
    raise HealscopeError(
        f"{source} is not there, seen from {Path.cwd()}; correct the path, or give an absolute one"
    )


def text(source: str) -> str:
    """Read a file as one text; raises HealscopeError where it is none, or no UTF-8."""
    place = _place(source)
    if place is None or not place.is_file():
        raise HealscopeError(f"{source} is not a file, seen from {Path.cwd()}; correct the path")
    return _text(source, place)


# Text.


def _text(source: str, place: Path) -> str:
    content = place.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise HealscopeError(
            f"{source}, line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def _parsed(text: str) -> Any:
    """Parse JSON; raises ValueError in words."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _jsonl(source: str, place: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(source, place).split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = _parsed(line)
        except ValueError as error:
            raise HealscopeError(
                f"{source}, line {number}: this is not JSON ({error}); correct or delete the line"
            ) from None
        yield Row(number, _object(source, f"line {number}", values))


def _json(source: str, place: Path) -> Iterator[Row]:
    text = _text(source, place)
    if not text.strip():
        return
    try:
        values = _parsed(text)
    except ValueError as error:
        said = str(error)
        hint = "; is it JSONL? then call it .jsonl" if "Extra data" in said else "; correct it"
        at = re.search(r"at character (\d+)", said)
        line = text.count("\n", 0, int(at[1])) + 1 if at else 1
        raise HealscopeError(f"{source}, line {line}: this is not JSON ({said}){hint}") from None
    if isinstance(values, dict):  # {"data": [...]}
        lists = [v for v in values.values() if isinstance(v, list)]
        values = lists[0] if len(lists) == 1 else values
    if not isinstance(values, list):
        raise HealscopeError(f"{source}: it must hold a list of objects; make it one")
    for number, value in enumerate(values, 1):
        yield Row(number, _object(source, f"row {number}", value))


def _object(source: str, where: str, values: Any) -> dict[str, Any]:
    if isinstance(values, dict):
        return values
    raise HealscopeError(
        f"{source}, {where}: a {type(values).__name__} where an object with fields is expected, "
        'such as {"question": "...", "answer": "..."}; correct it'
    )


def _csv(source: str, place: Path, delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(100_000_000)
    reader = csv.reader(io.StringIO(_text(source, place), ""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begun = 1
    try:
        for cells in reader:
            number, begun = begun, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = cells
                if len(set(header)) < len(header):
                    twice = next(name for name in header if header.count(name) > 1)
                    raise HealscopeError(
                        f"{source}, line {number}: two columns are called '{twice}'; rename one"
                    )
                continue
            if len(cells) != len(header):
                raise HealscopeError(
                    f"{source}, line {number}: {len(cells)} cells, but the header has "
                    f"{len(header)} ({', '.join(header)}); put texts with a delimiter or a line "
                    "break in double quotes"
                )
            yield Row(number, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise HealscopeError(
            f"{source}, line {begun}: this is not CSV ({error}); correct the line"
        ) from None


def _tsv(source: str, place: Path) -> Iterator[Row]:
    return _csv(source, place, "\t")


# Tables.


def _parquet(source: str, place: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        values = parquet.read_table(place).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise HealscopeError(
            f"{source}: this is not a Parquet file ({one_line(error, 200)}); write it again"
        ) from None
    for number, row in enumerate(values, 1):
        yield Row(number, row)


def _of_folder(source: str, place: Path) -> list[Row]:
    """Read a folder that `datasets` wrote by `save_to_disk`."""
    from datasets import load_from_disk

    if not any((place / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise HealscopeError(
            f"{source} is a folder, but not one that `datasets` saved (save_to_disk); name a file"
        )
    try:
        found = load_from_disk(str(place))
    except Exception as error:  # whatever the library has to say about broken files
        raise HealscopeError(
            f"{source}: `datasets` cannot read this folder ({one_line(error, 200)}); save it again"
        ) from None
    return _rows(source, found)


@lru_cache(maxsize=8)
def _of_hub(source: str) -> list[Row]:
    """Read a data set of the hub, or of the cache where HF_HUB_OFFLINE is set; runs no code."""
    from datasets import load_dataset

    named, _, revision = source.partition("#")[0].partition("@")
    name, _, config = named.partition(":")
    try:
        found = load_dataset(name, config or None, revision=revision or None)
    except Exception as error:  # of the network, the hub or the data
        raise HealscopeError(
            f"{source} is not a file here, and cannot be fetched from the hub "
            f"({one_line(error, 200)}); correct the path or the id, or fetch it first where there "
            "is a network"
        ) from None
    return _rows(source, found)


def _rows(source: str, found: Any) -> list[Row]:
    """List the rows of a data set, or of the split that the source names."""
    split = source.partition("#")[2]
    if isinstance(found, dict):
        there = ", ".join(found)
        if not split and len(found) > 1:
            raise HealscopeError(f"{source} has the splits {there}; name one, as {source}#test")
        if split and split not in found:
            raise HealscopeError(f"{source}: there is no split '{split}', only {there}; correct it")
        found = found[split or next(iter(found))]
    return [Row(number, row) for number, row in enumerate(found, 1)]


Reader = Callable[[str, Path], Iterator[Row]]
_READERS: Mapping[str, tuple[Reader, str]] = {
    ".jsonl": (_jsonl, "line"),
    ".ndjson": (_jsonl, "line"),
    ".json": (_json, "row"),
    ".csv": (_csv, "line"),
    ".tsv": (_tsv, "line"),
    ".parquet": (_parquet, "row"),
}
