"""Write the report: one self-contained HTML page, Markdown, and JSON."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt

from healscope.errors import HealscopeError
from healscope.outcomes import words

FILES = ("compare.html", "compare.md", "compare.json")


def write(
    report: dict[str, Any],
    folder: Path,
    about: str = "",
    figures: Mapping[str, Path] | None = None,
) -> Path:
    """Write FILES into a folder, all or none, and return the path of the page.

    `about` is Markdown that the page has above its tables, `figures` are PNG files by their titles,
    which it shows. Files of an earlier comparison are replaced. Raises HealscopeError where nothing
    can be written.
    """
    texts = (
        html(report, about, figures),
        words.markdown(report, whole=True),
        json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    )
    staged = [folder / f".{name}.part" for name in FILES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in zip(staged, texts, strict=True):
            file.write_text(text, encoding="utf-8")
        for file, name in zip(staged, FILES, strict=True):
            file.replace(folder / name)
    except OSError as error:
        with contextlib.suppress(OSError):
            for file in staged:
                file.unlink(missing_ok=True)
        raise HealscopeError(
            f"{folder} cannot be written ({error.strerror}); name another folder with --out"
        ) from None
    return folder / FILES[0]


def html(report: dict[str, Any], about: str = "", figures: Mapping[str, Path] | None = None) -> str:
    """Return the page. Every text in it is escaped: models and files write what they like."""
    environment = Environment(
        loader=PackageLoader("healscope.outcomes", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = files("healscope.outcomes").joinpath("sort.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template("page.html").render(
        report=report,
        words=words,
        forest=_forest(report["changes"]),
        changes=_rows(report["changes"]),
        steps=_rows(report["steps"]),
        over_all=[
            _row(
                [o["before"], o["after"], words.interval(o), o["verdict"],
                 words.points(o["detectable"], ".1f")],
                {2: o["change"], 4: o["detectable"]}, o["verdict"],
            )
            for o in report["over_all"]
        ],
        best=[
            _row(cells, {1: r["as_picked"], 2: r["change"], 3: r["last_less_best"]["change"]})
            for cells, r in zip(
                words.best_rows(report["best"]), report["best"]["rows"], strict=True
            )
        ] if report["best"] else [],
        sections=[(title, lines) for title, lines in words.sentences(report).items() if lines],
        flips=_flips(report["flips"]),
        about=_rendered(about),
        figures={title: _inline(file) for title, file in (figures or {}).items()},
        script=script,
        script_hash=base64.b64encode(digest).decode(),
    )  # fmt: skip


def _rendered(text: str) -> str:
    """Return Markdown as HTML without its title. Tags in it are escaped, and links that would run
    something are left as text."""
    tokens = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = text.partition("\n")[2] if text.startswith("# ") else text
    found = tokens.render(body)
    return found.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )


def _inline(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _row(cells: list[str], keys: dict[int, float | None], verdict: str = "") -> dict[str, Any]:
    """Return a row of a table: its texts, and what columns are sorted by where it is no text."""
    return {
        "cells": [
            {"text": text, "key": keys.get(i), "kind": "verdict" if text == verdict else ""}
            for i, text in enumerate(cells)
        ],
        "verdict": verdict if verdict in ("lost", "gained") else "",
    }


def _rows(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = {
        1: "items", 4: "accuracy_after", 5: "change", 7: "lost", 8: "gained", 9: "unread_after",
        10: "detectable",
    }  # fmt: skip
    return [
        _row(cells, {i: c[key] for i, key in keys.items()}, c["verdict"])
        for cells, c in zip(words.rows(changes), changes, strict=True)
    ]


def _forest(changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return where changes and their intervals lie, in percent of the width, by model."""
    ends = [abs(c[key]) for c in changes for key in ("low", "high")]
    reach = max(0.01, *ends) * 1.05
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if reach / s < 4), 0.5)

    def at(value: float) -> float:
        return round(50 + 50 * value / reach, 2)

    count = int(reach / step)
    groups: dict[str, list[dict[str, Any]]] = {}
    for c in changes:
        groups.setdefault(c["after"], []).append(
            {
                "name": c["benchmark"],
                "verdict": c["verdict"] if c["verdict"] in ("lost", "gained") else "",
                "low": at(c["low"]),
                "width": round(at(c["high"]) - at(c["low"]), 2),
                "value": at(c["change"]),
                "said": words.interval(c),
            }
        )
    return {
        "zero": 50,
        "groups": [{"name": name, "rows": rows} for name, rows in groups.items()],
        "ticks": [
            {"at": at(i * step), "text": words.points(i * step, "+.0f") if i else "0"}
            for i in range(-count, count + 1)
        ],
    }


def _flips(flips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return them by benchmark and pair of models."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for f in flips:
        groups.setdefault((f["benchmark"], f["before"], f["after"]), []).append(f)
    return [
        {
            "benchmark": benchmark, "before": before, "after": after, "rows": rows,
            "said": ", ".join(
                f"{sum(f['kind'] == kind for f in rows)} {kind}" for kind in ("lost", "gained")
            ) + " shown",
        }
        for (benchmark, before, after), rows in groups.items()
    ]  # fmt: skip
