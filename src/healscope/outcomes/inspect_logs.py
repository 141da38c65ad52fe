"""Read logs of inspect: `.eval` (a zip of JSON files) and `.json`; inspect_ai is not needed.

A log is input from elsewhere: members are read one after the other, never unpacked to disk, and
within limits of size. Since 2026 inspect compresses them with Zstandard, which `zipfile` reads from
Python 3.14 on; here pyarrow does.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from healscope.errors import HealscopeError
from healscope.outcomes.answers import Answer, field, number, parsed, shown

VALUES = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Scores that are words, as inspect's own metrics count them."""

FORMLESS = ("no_response", "invalid_response_format")
"""Reasons of a score, as inspect's scorers give them, that say that no answer was found."""

MEMBER, WHOLE, MEMBERS = 256 << 20, 8 << 30, 500_000
"""Largest member and sum of all members (bytes, unpacked), and number of members, of a zip."""

SAMPLE = re.compile(r"samples/.+_epoch_\d+(\.json|/sample\.json)", re.DOTALL)
"""Member of a sample; of a large one, what is left when its messages and events stand apart."""

ZSTANDARD = 93
"""Compression method in a zip (APPNOTE.TXT 4.4.5)."""

RATIO = 400
"""A member larger than a megabyte that unpacks to so many times its size is no log."""


def is_log(path: Path) -> bool:
    """Whether a JSON file begins as a log of inspect does."""
    with path.open("rb") as file:
        start = file.read(2000)
    return b'"eval"' in start and b'"version"' in start


def read(path: Path, wanted: Mapping[str, str]) -> tuple[list[Answer], int]:
    """Read one log; return its answers, and how many samples have no score.

    `wanted`: task, or "" for all, -> SCORER, or SCORER.KEY where scores are tables of values. Of
    several scorers the first counts. Raises HealscopeError in a sentence.
    """
    header, samples = _zipped(path) if path.suffix == ".eval" else _plain(path)
    task = field(field(header, "eval", dict, str(path)), "task", str, f"{path}: 'eval'")
    if header.get("status") != "success":
        raise HealscopeError(
            f"{path}: the evaluation of {task} did not end (its status is "
            f"'{header.get('status')}'); finish it with `inspect eval-retry`"
        )
    chosen = wanted.get(task, wanted.get("", ""))
    answers = [_answer(sample, task, chosen, where) for where, sample in samples]
    found = [answer for answer in answers if answer]
    unscored = len(answers) - len(found)
    if any(answer.unread is False for answer in found):  # else the scorer never says what it read
        found = [replace(a, unread=a.correct == 0) if a.unread is None else a for a in found]
    if not found:
        raise HealscopeError(f"{path} has no scored sample of {task}; evaluate it again")
    results = header.get("results")
    total = results.get("total_samples") if isinstance(results, dict) else None
    if isinstance(total, int) and total > len(found) + unscored:
        raise HealscopeError(
            f"{path} has {len(found) + unscored} samples where its header says {total}: the log is "
            "cut off, or written without samples (--no-log-samples); evaluate again"
        )
    return found, unscored


def _plain(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    log = parsed(path.read_bytes(), str(path))
    samples = log.get("samples") or []
    if not isinstance(samples, list) or not all(isinstance(one, dict) for one in samples):
        raise HealscopeError(f"{path}: 'samples' is no list of objects; write the log again")
    return log, ((f"{path}, sample {i}", one) for i, one in enumerate(samples, 1))


def _zipped(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            _check_sizes(path, list(members.values()))
    except (zipfile.BadZipFile, OSError, ValueError):
        raise HealscopeError(f"{path} is no whole zip file: it is cut off; copy it again") from None
    if "header.json" not in members:
        raise HealscopeError(
            f"{path} has no header.json: the evaluation did not end; finish it with "
            "`inspect eval-retry`"
        )
    names = sorted(name for name in members if SAMPLE.fullmatch(name))

    def samples() -> Iterator[tuple[str, dict[str, Any]]]:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                yield f"{path}, {name}", _member(archive, members[name], path)

    with zipfile.ZipFile(path) as archive:
        return _member(archive, members["header.json"], path), samples()


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raise HealscopeError where a zip would unpack to more than a log does."""
    large = [
        m
        for m in members
        if m.file_size > MEMBER
        or (m.file_size > 1 << 20 and m.file_size > RATIO * max(m.compress_size, 1))
    ]
    if large or len(members) > MEMBERS or sum(m.file_size for m in members) > WHOLE:
        what = f"its {large[0].filename[:80]!r} would unpack" if large else "it would unpack"
        raise HealscopeError(
            f"{path} is refused: {what} to more than a log of inspect holds; if you trust it, "
            f"write it as JSON: inspect log convert --to json --output-dir DIR {path.name}"
        )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> dict[str, Any]:
    where = f"{path}, {member.filename[:80]}"
    try:
        if member.compress_type == ZSTANDARD:
            text = _unpacked(archive, member)
        else:
            with archive.open(member) as file:
                text = file.read(member.file_size + 1)
    except NotImplementedError:
        raise HealscopeError(
            f"{where} is compressed in a way that cannot be read here; write it as JSON: "
            f"inspect log convert --to json --output-dir DIR {path.name}"
        ) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        raise HealscopeError(f"{where} is damaged; copy the log again") from None
    return parsed(text, where)


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Decompress a member in Zstandard; raises ValueError if it is not what the zip says."""
    import pyarrow  # takes a while to load, and not every log needs it

    file = archive.fp
    file.seek(member.header_offset + 26)
    name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    file.seek(name + extra, 1)
    packed = pyarrow.BufferReader(file.read(member.compress_size))
    with pyarrow.CompressedInputStream(packed, "zstd") as stream:
        text = stream.read(member.file_size + 1)
    if len(text) != member.file_size or zlib.crc32(text) != member.CRC:
        raise ValueError("other size or sum than in the directory of the zip")
    return text


def _answer(sample: dict[str, Any], task: str, chosen: str, where: str) -> Answer | None:
    """Return the answer of one sample and epoch; None if it has no score."""
    item = shown(str(field(sample, "id", (int, str), where)))
    scores = sample.get("scores")
    if not isinstance(scores, dict) or not scores or sample.get("invalidation"):
        return None
    name, score = _score(scores, chosen, where)
    value = score.get("value")
    if isinstance(value, dict):
        name, value = _entry(name, value, chosen, where)
    if value is None or value != value:  # NaN: inspect's mark of what could not be scored
        return None
    counted = (
        VALUES.get(value, VALUES.get(value.lower(), value)) if isinstance(value, str) else value
    )
    correct = number(counted, where, f"score '{name}'")
    output = sample.get("output")
    text = output.get("completion", "") if isinstance(output, dict) else ""
    text = _attached(text, sample)
    said = score.get("answer")
    read = None if said is None else bool(str(said).strip())
    if value == "N" or score.get("reason") in FORMLESS or not text.strip():
        read = False
    target = sample.get("target", "")
    return Answer(
        benchmark=shown(task),
        item=item,
        correct=correct,
        sample=str(sample.get("epoch", 1)),
        unread=None if read is None else not read and correct == 0,
        text=shown(text),
        question=shown(_question(sample)),
        target=shown(target),
        document=shown([_question(sample), target]),
        metric=shown(name),
    )


def _score(scores: dict[str, Any], chosen: str, where: str) -> tuple[str, dict[str, Any]]:
    scorer = chosen if chosen in scores else chosen.partition(".")[0]
    name = scorer or next(iter(scores))
    if name not in scores:
        raise HealscopeError(f"{where} has no scorer '{name}', but {', '.join(map(str, scores))}")
    score = scores[name]
    if not isinstance(score, dict):
        raise HealscopeError(f"{where}: score '{name}' is no object; write the log again")
    return str(name), score


def _entry(name: str, values: dict[str, Any], chosen: str, where: str) -> tuple[str, Any]:
    """Return one value of a score that is a table of values."""
    key = chosen.removeprefix(f"{name}.") if chosen.startswith(f"{name}.") else ""
    if not key and len(values) == 1:
        key = next(iter(values))
    if key not in values:
        raise HealscopeError(
            f"{where}: score '{name}' has several values ({', '.join(map(str, values))}); name "
            f"one: --metric {name}.{next(iter(values), 'KEY')}"
        )
    return f"{name}.{key}", values[key]


def _question(sample: dict[str, Any]) -> str:
    """Return the input; of a conversation, its turns."""
    given = sample.get("input", "")
    if isinstance(given, list):
        turns = [turn for turn in given if isinstance(turn, dict)]
        parts = [f"{turn.get('role', '')}: {shown(turn.get('content', ''))}" for turn in turns]
        return "\n".join(parts)
    return _attached(given, sample)


def _attached(text: Any, sample: dict[str, Any]) -> str:
    """Return a text; long ones are kept apart, under a hash."""
    if not isinstance(text, str):
        return shown(text)
    attachments = sample.get("attachments")
    if text.startswith("attachment://") and isinstance(attachments, dict):
        return str(attachments.get(text.removeprefix("attachment://"), text))
    return text
