"""The report in words: its answer in a sentence, and the whole as Markdown."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from healscope.markdown import bullets, grid

LONG = 3
"""So many benchmarks are named in a sentence; of more, it says how many."""


def points(value: float | None, form: str = "+.1f") -> str:
    return "–" if value is None else f"{100 * value:{form}}".replace("-", "−")


def interval(row: dict[str, Any]) -> str:
    """Format a change with its interval, in points."""
    return f"{points(row['change'])} [{points(row['low'])}, {points(row['high'])}]"


def printable(text: str) -> str:
    """Return a text on one line, without characters that steer a terminal or turn its direction."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def plain(text: str) -> str:
    """Return a text as Markdown that shows it, with no tag, link or cell of its own."""
    text = printable(text)
    text = re.sub(r"([\\|`*~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)
    text = re.sub(r"(?i)\b(https?|ftp)(?=://)|\bwww(?=\.)", r"\g<0>\\", text)  # no bare links
    return re.sub(r"<(?=[A-Za-z/!?])|(?<=\])\(", r"\\\g<0>", text)


def several(names: Sequence[str]) -> str:
    """Join names as in a sentence; of many, the first and how many more."""
    if not names:
        return ""
    shown = (
        list(names) if len(names) <= LONG else [*names[: LONG - 1], f"{len(names) - LONG + 1} more"]
    )
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)


def of_last(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the changes of the last model against the first."""
    return [c for c in report["changes"] if c["after"] == report["sources"][-1]["name"]]


def answer(report: dict[str, Any]) -> str:
    """Say in a sentence what the last model has lost and gained against the first."""
    last = report["sources"][-1]["name"]
    own = of_last(report)
    parts = []
    for verdict, verb in (("lost", "loses"), ("gained", "gains")):
        found = sorted((c for c in own if c["verdict"] == verdict), key=lambda c: -abs(c["change"]))
        if found:
            named = [f"{points(abs(c['change']), '.1f')} points of {c['benchmark']}" for c in found]
            parts.append(f"{verb} {several(named)}")
    same = [c["benchmark"] for c in own if c["verdict"] == "no change"]
    if same:
        size = points(report["margin"], ".3g")
        parts.append(f"does not change by {size} points or more in {several(same)}")
    undecided = several([c["benchmark"] for c in own if c["verdict"] == "undecided"])
    if parts:
        said = f"Against {report['base']}, {last} {'; '.join(parts)}"
        said += f"; undecided: {undecided}" if undecided else ""
    else:
        said = f"No change from {report['base']} to {last} is established; undecided: {undecided}"
    best = report["best"]
    if best and best["best"] != last:
        since = best["rows"][-1]["last_less_best"]
        if since["high"] < 0:
            said += (
                f"; {best['best']} is better by {points(-since['change'], '.1f')} points in the "
                "mean, on items that did not pick it"
            )
        else:
            said += "; no other is established as better in the mean"
    return said + "."


def decisions(report: dict[str, Any]) -> dict[str, list[str]]:
    """Return what is established of the last model, what is not, and what would decide it, as
    sentences."""
    found: dict[str, list[str]] = {"established": [], "open": [], "decide": []}
    for c in of_last(report):
        who = f"{c['benchmark']}, {c['before']} to {c['after']}: {interval(c)}"
        if c["verdict"] in ("lost", "gained"):
            found["established"].append(f"{who}, {c['verdict']} (Holm's p {c['p_adjusted']:.2g})")
        elif c["verdict"] == "no change":
            found["established"].append(f"{who}, no change beyond the margin")
        else:
            size = points(c["detectable"], ".1f")
            found["open"].append(
                f"{who}; a change of {size} points would have been seen in four of five such "
                "comparisons"
            )
            found["decide"].append(_deciding(c, report["margin"]))
    return found


def _deciding(c: dict[str, Any], margin: float) -> str:
    size = points(max(abs(c["change"]), margin), ".1f")
    where = f"{c['benchmark']}, {c['before']} to {c['after']}"
    if c["more_items"] is None:
        return f"{where}: with a margin of 0, no number of items shows that nothing changes"
    if not c["more_items"]:
        return (
            f"{where}: {c['items']} items can show {size} points; here chance, or the number of "
            "comparisons, leaves it open. Other items of the kind would decide"
        )
    return f"{where}: about {c['more_items']:,} items more, to see {size} points in four of five"


def exchange(count: float, by_chance: float) -> str:
    return f"{count:.4g} ({by_chance:.1f})"


def unread(row: dict[str, Any]) -> str:
    if row["unread_before"] is None:
        return "–"
    return " → ".join(points(row[f"unread_{end}"], ".1f") for end in ("before", "after"))


HEADER = [
    "benchmark", "items", "from", "to", "accuracy", "change [95%]", "verdict",
    "lost (by chance)", "gained (by chance)", "no answer, %", "detectable",
]  # fmt: skip


def rows(changes: Iterable[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            c["benchmark"], str(c["items"]), c["before"], c["after"],
            f"{points(c['accuracy_before'], '.1f')} → {points(c['accuracy_after'], '.1f')}",
            interval(c), c["verdict"],
            exchange(c["lost"], c["chance_lost"]),
            exchange(c["gained"], c["chance_gained"]),
            unread(c), points(c["detectable"], ".1f"),
        ]
        for c in changes
    ]  # fmt: skip


def table(changes: Iterable[dict[str, Any]]) -> str:
    return grid(HEADER, [[plain(cell) for cell in row] for row in rows(changes)])


def formats(report: dict[str, Any]) -> list[str]:
    """Say of the last model's losses how much of them are answers that could not be read."""
    found = []
    for c in of_last(report):
        if c["lost_unread"]:
            said = (
                f"{c['benchmark']}, {c['after']}: of {c['lost']:.4g} items lost, "
                f"{c['lost_unread']:.4g} are answers in which nothing could be read"
            )
            if c["read_in_both"]:
                both = c["read_in_both"]
                said += f"; on the {both['items']} items read in both, {interval(both)}"
            found.append(said)
    return found


def metrics(report: dict[str, Any]) -> list[str]:
    """Say what judged the answers of each benchmark, where files hold more than one verdict."""
    named: dict[str, list[str]] = {}
    for b in report["benchmarks"]:
        named.setdefault(b["metric"], []).append(b["name"])
    return [f"{metric}: {', '.join(names)}" for metric, names in named.items() if metric]


def markdown(report: dict[str, Any], whole: bool = False) -> str:
    """Return the report as Markdown; `whole`: with every step, and the items that flipped."""
    text = [plain(report["answer"]), ""]
    if report["gate"]:
        text += [gate(report["gate"]), ""]
    text += [f"## Since {plain(report['base'])}", "", table(report["changes"]), "", LEGEND, ""]
    if report["benchmarks"][1:]:
        text += ["Over all benchmarks, each of which weighs alike:", "", _over_all(report), ""]
    if report["best"]:
        text += ["## The best of them", "", *_best(report["best"])]
    if report["steps"]:
        last = report["sources"][-1]["name"]
        steps = [c for c in report["steps"] if whole or c["after"] == last]
        text += ["## From one to the next", "", table(steps), ""]
    for title, lines in sentences(report).items():
        if lines:
            text += [f"## {plain(title)}", "", bullets(plain(line) for line in lines), ""]
    text += [ABOUT, ""]
    if whole:
        text += _flips(report)
    return "\n".join(text)


def sentences(report: dict[str, Any]) -> dict[str, list[str]]:
    """Return the sections that are lists of sentences: title -> sentences."""
    said, last = decisions(report), report["sources"][-1]["name"]
    return {
        f"Established of {last}": said["established"],
        f"Not established of {last}": said["open"],
        "What would decide it": said["decide"],
        "What counts as right": metrics(report),
        "Format, or wrong?": formats(report),
        "Beware": report["notes"],
    }


LEGEND = (
    "Changes are in points (100 = all items), on the same items, with 95% intervals. Lost: right "
    "before, wrong after; in brackets what chance alone would exchange between models that are as "
    "often right and have nothing else in common. Detectable: a change of this size would have "
    "been seen in four of five such comparisons. Verdicts on a model are corrected for the number "
    "of benchmarks (Holm)."
)

ABOUT = (
    "Intervals cover only the choice of items, for these same models. Another "
    "training run of the same recipe can differ by more."
)


def _over_all(report: dict[str, Any]) -> str:
    header = ["from", "to", "change [95%]", "verdict", "detectable"]
    lines = [
        (plain(o["before"]), plain(o["after"]), interval(o), o["verdict"],
         points(o["detectable"], ".1f"))
        for o in report["over_all"]
    ]  # fmt: skip
    return grid(header, lines)


def best_sentence(best: dict[str, Any]) -> str:
    a, b = best["by_half"]
    halves = f"both halves of the items pick {a}" if a == b else f"the halves pick {a} and {b}"
    return (
        f"{best['best']} has the highest mean accuracy of {len(best['candidates'])}; {halves}. "
        "What is picked for being best looks better than it is on the items that picked it, so "
        "each half is reported at what the other half picks."
    )


def best_rows(best: dict[str, Any]) -> list[list[str]]:
    return [
        [r["benchmark"], points(r["as_picked"]), interval(r), interval(r["last_less_best"])]
        for r in best["rows"]
    ]


def best_header(best: dict[str, Any]) -> list[str]:
    return [
        "benchmark", "gain on the items that picked", "gain on the others [95%]",
        f"{best['last']} less the best [95%]",
    ]  # fmt: skip


def _best(best: dict[str, Any]) -> list[str]:
    cells = [[plain(cell) for cell in row] for row in best_rows(best)]
    header = [plain(cell) for cell in best_header(best)]
    return [plain(best_sentence(best)), "", grid(header, cells), ""]


def gate(judged: dict[str, Any]) -> str:
    lines = [f"**{judged['verdict']}** (exit code {judged['code']})"]
    for one in judged["conditions"]:
        parts = [f"{c['benchmark']} {interval(c)}" for c in one["changes"]]
        lines.append(
            f"- {plain(one['condition'])} ({plain(one['source'])}): {one['verdict']}; "
            f"{plain(', '.join(parts))}"
        )
    return "\n".join(lines)


def _flips(report: dict[str, Any]) -> list[str]:
    if not report["flips"]:
        return []
    header = ["benchmark", "item", "from", "to", "", "question", "right", "before", "after"]
    cells = [
        [plain(str(f[k]))[:300] for k in
         ("benchmark", "item", "before", "after", "kind", "question", "target", "text_before",
          "text_after")]
        for f in report["flips"]
    ]  # fmt: skip
    return ["## Items that flipped", "", grid(header, cells), ""]
