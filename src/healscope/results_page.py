"""A study's answers as Markdown: `python -m healscope.results_page FOLDER PAGE [TABLE ...]`.

Replaces what stands between the markers of PAGE by the tables of the study in FOLDER, those named
or all, so that no result is typed in by hand. Accuracies are in percent, changes in points.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from healscope import artifacts, gate, provenance
from healscope.errors import HealscopeError
from healscope.stats import POWER

BEGIN, END = "<!-- generated: python -m healscope.results_page -->", "<!-- end -->"


def update(folder: str | Path, page: str | Path, *wanted: str) -> None:
    """Writes the study's answers between the markers of `page`; raises where there are none.

    `wanted`: names of tables, in that order; all, where none is named.
    """
    file = Path(page)
    text = file.read_text()
    if text.count(BEGIN) != 1 or END not in text.split(BEGIN)[1]:
        raise HealscopeError(f"{page} needs one line '{BEGIN}' and, after it, one line '{END}'")
    before, after = text.split(BEGIN)[0], text.split(BEGIN)[1].split(END, 1)[1]
    file.write_text(f"{before}{BEGIN}\n\n{answers(folder, wanted)}\n{END}{after}")


def answers(folder: str | Path, wanted: Sequence[str] = ()) -> str:
    """Answers of the study whose `results` lie in `folder`, model by model."""
    folder = Path(folder)
    if unknown := sorted(set(wanted) - set(_SECTIONS)):
        raise HealscopeError(f"no section {unknown}; there are {', '.join(_SECTIONS)}")
    sections = {name: _SECTIONS[name] for name in wanted or _SECTIONS}
    tables = {name: _read(folder, name) for name in sections}
    models = list(dict.fromkeys(m for table in tables.values() for m in table["model"]))
    if not models:
        raise HealscopeError(f"{folder} has none of the tables {', '.join(sections)}; make them")
    parts = [("Run", _run(folder, sections))]
    for model in models:
        of = "" if len(models) == 1 else f", {model}"
        if not wanted:
            gated = _bullets(gate.sentences(_of(_read(folder, "gate"), model)))
            parts += [(f"Is there anything to explain?{of}", gated)]
        parts += [
            (f"{title}{of}", write(_of(tables[name], model)))
            for name, (title, write) in sections.items()
            if not _of(tables[name], model).empty
        ]
    return "\n".join(f"### {title}\n\n{body}\n" for title, body in parts)


def _read(folder: Path, name: str) -> pd.DataFrame:
    """A table of the study; empty where it was not asked for."""
    file = folder / artifacts.path(artifacts.TABLE, table=name)
    return provenance.read_table(file) if file.exists() else pd.DataFrame({"model": []})


def _of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model]


def _run(folder: Path, tables: Iterable[str]) -> str:
    files = [folder / artifacts.path(artifacts.TABLE, table=name) for name in tables]
    record = provenance.read_provenance(next(f for f in files if f.exists()))
    code = record["code"]
    lines = [
        f"healscope {code['healscope']}, commit {code['commit']}"
        + (" with changes" if code["modified"] else ""),
        "packages: " + ", ".join(f"{k} {v}" for k, v in record["packages"].items() if v),
    ]
    logs = sorted((folder / ".snakemake/log").glob("*.snakemake.log"))
    for log in logs:
        if found := re.search(r"Elapsed time: (\S+)", log.read_text(errors="replace")):
            lines.append(f"wall time of a run: {found[1].split('.')[0]} (hours:minutes:seconds)")
    return _bullets(lines)


def _claims(claims: pd.DataFrame) -> str:
    header = ["claim", "verdict", "effect", "interval", "by seed", f"detectable ({POWER:.0%})"]
    rows = [
        (r["statement"], r["verdict"], _points(r["effect"]), _interval(r["low"], r["high"], "+.1f"),
         ", ".join(map(_points, r["by_seed"])), _percent(r["detectable"]))
        for r in claims.to_dict("records")
    ]  # fmt: skip
    details = [f"*{r['statement']}*: {r['detail']}." for r in claims.to_dict("records")]
    return _table(header, rows) + "\n\nDetails:\n\n" + _bullets(details)


def _landmarks(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["landmark", "rule"])
    names = {**artifacts.LANDMARK_NAMES, "maxood_uncorrected": "MaxOOD on the deals that picked it"}
    rows = [
        (label, *(_estimate(whole.loc[(name, rule)], "accuracy") for rule in ("id", "ood")))
        for name, label in names.items()
    ]
    return _table(["landmark", "ID", "OOD"], rows)


def _protocols(table: pd.DataFrame) -> str:
    drawn = set(table.loc[table["split"] == "any", "protocol"])
    whole = table[(table["seed"] == "all") & table["split"].isin(["held_out", "any"])]
    whole = whole[(whole["split"] == "any") == whole["protocol"].isin(drawn)]
    measures = {
        "first_attempt": "first attempt", "pass_at_1": "pass@1, sampled", "pass_at_k": "pass@k",
        "after_none": "after no feedback", "after_outcome": "after right or wrong",
        "after_full": "after full feedback", "later_parsed": "later attempts in the format",
    }  # fmt: skip
    order = ["protocol", "rule", "stage", "step"]
    rows = [
        (r["protocol"], r["variant"], r["rule"].upper(), *(_percent(r[m]) for m in measures))
        for r in whole.sort_values(order, key=_sft_first).to_dict("records")
    ]
    tries = table.groupby("protocol")["attempts"].max().items()
    note = (
        f"pass@k: any of {int(table['k'].max())} samples. After feedback: right in the first or a "
        f"later attempt, of at most {', '.join(f'{n} ({p})' for p, n in tries)}. First attempts "
        "count all problems, the others those that are retried.\n\n"
    )
    return note + _table(["protocol", "checkpoint", "rule", *measures.values()], rows)


def _sft_first(column: pd.Series) -> pd.Series:
    return column.map({"sft": 0, "rl": 1}) if column.name == "stage" else column


def _exposure(table: pd.DataFrame) -> str:
    means = table.groupby(["protocol", "rule"], sort=False).mean(numeric_only=True).reset_index()
    shares = {
        "training_side_share": "on the training side", "trained_on_share": "trained on",
        "accuracy_trained_on": "accuracy there", "accuracy_not_trained_on": "and elsewhere",
        "told_rule_share": "messages that name a rule value",
        "accuracy_after_told": "right after those", "accuracy_after_not_told": "after others",
    }  # fmt: skip
    rows = [
        (r["protocol"], r["rule"].upper(), f"{r['problems']:.0f}", f"{r['distinct_deals']:.0f}",
         *(_percent(r[s]) for s in shares))
        for r in means.to_dict("records")
    ]  # fmt: skip
    note = "Last SFT checkpoint, mean of the seeds, in percent of first attempts or messages.\n\n"
    return note + _table(["protocol", "rule", "problems", "deals", *shares.values()], rows)


def _factorial(table: pd.DataFrame) -> str:
    sft = table[(table["stage"] == "sft") & (table["seed"] == "all")]
    last = sft[sft["step"] == sft["step"].max()]
    rows = [
        (r["name"], _estimate(r, "value", "+.1f" if r["kind"] == "effect" else ".1f"))
        for r in last.to_dict("records")
    ]
    return _table(["cell or effect", "accuracy or change"], rows)


def _stopping(table: pd.DataFrame) -> str:
    rows = [
        (r["rank"], r["signal"], r["rule"], r["needs"], r["stops_at"], _estimate(r, "regret"))
        for r in table.to_dict("records")
    ]
    header = ["rank", "signal", "rule", "needs", "stops at (by seed)", "regret, OOD points"]
    return _table(header, rows)


def _published(table: pd.DataFrame) -> str:
    rows = [
        (r["published_model"], r["rule"].upper(), r["what"],
         f"{_points(r['published'])} "
         + _interval(r["published_low"], r["published_high"], "+.1f"),
         r["protocol"], _estimate(r, "measured", "+.1f"), r["compatible"])
        for r in table[table["kind"] == "change"].to_dict("records")
    ]  # fmt: skip
    header = ["published model", "rule", "change", "published", "protocol", "measured",
              "compatible"]  # fmt: skip
    return _table(header, rows)


def _arms(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].set_index(["arm", "kind", "rule", "step"])
    arms = ["sft", *table.loc[table["arm"] != "sft", "arm"].unique()]
    columns = [(kind, rule) for kind in ("level", "difference") for rule in ("id", "ood")]
    rows = [
        (arm, step,
         *("–" if (arm, kind, rule, step) not in whole.index
           else _estimate(whole.loc[(arm, kind, rule, step)], "accuracy",
                          ".1f" if kind == "level" else "+.1f")
           for kind, rule in columns))
        for arm in arms
        for step in sorted(table["step"].unique())
    ]  # fmt: skip
    note = (
        "diverse: paraphrased prompts; solutions: any correct answer, drawn anew each epoch; the "
        "others: methods (rotation-aware.md).\n\n"
    )
    header = ["arm", "SFT step", "ID", "OOD", "ID, minus sft", "OOD, minus sft"]
    return note + _table(header, rows)


def _recipes(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].sort_values(
        ["start", "kind", "healing"], ascending=[True, False, False]
    )
    rows = [
        (
            r["recipe"],
            r["algorithm"],
            r["start"],
            *(_percent(r[f"{rule}_after"]) for rule in ("id", "ood")),
            _estimate(r, "healing", "+.1f"),
            "–"
            if pd.isna(r["id_change"])
            else f"{_points(r['id_change'])} " + _interval(r["id_low"], r["id_high"], "+.1f"),
            _thousands(r["generated_tokens"]),
            _thousands(r["trained_tokens"]),
            _number(r["seconds"], ".0f"),
            _number(r["generated_per_second"], ".0f"),
            _number(r["trained_per_second"], ".0f"),
            _number(r["kl_from_start_nats"], ".2f"),
            "yes" if r["hacking"] else "",
            r["failed"],
        )
        for r in whole.to_dict("records")
    ]
    note = (
        "Held-out deals, mean of the seeds. Tokens in thousands; seconds of sampling and training, "
        "one thread of a shared machine; KL from the start in nats a token; hacking: the reward "
        "rose and success did not.\n\n"
    )
    header = [
        "recipe",
        "algorithm",
        "start",
        "ID",
        "OOD",
        "OOD change (healing)",
        "ID change",
        "generated",
        "trained on",
        "seconds",
        "generated a second",
        "trained a second",
        "KL",
        "hacking",
        "failed",
    ]
    return note + _table(header, rows)


def _window(table: pd.DataFrame) -> str:
    whole = table[table["seed"] == "all"].sort_values("start")
    rows = [
        (
            r["start"],
            _estimate(r, "healing", "+.1f"),
            _percent(r["before"]),
            _percent(r["after"]),
            _percent(r["positive_share"]),
            *(_number(r[c], ".2f") for c in _STATE),
            r["failed"],
        )
        for r in whole.to_dict("records")
    ]
    note = "Main recipe; rewards, advantages and entropy are means of the first ten iterations.\n\n"
    header = [
        "start",
        "OOD change",
        "OOD before",
        "after",
        "positive rewards",
        *_STATE.values(),
        "failed",
    ]
    return note + _table(header, rows)


_STATE = {
    "advantage_entropy_nats": "entropy of advantages",
    "entropy_nats": "entropy of the policy",
    "kl_from_start_nats": "KL from start, at the end",
    "kl_from_base_nats": "KL from base, at the end",
}


def _thousands(value: float) -> str:
    return "–" if pd.isna(value) else f"{value / 1000:.0f}"


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else f"{value:{form}}"


def _estimate(row, column: str, form: str = ".1f") -> str:
    if pd.isna(row[column]):
        return "–"
    return f"{100 * row[column]:{form}} {_interval(row['low'], row['high'], form)}"


def _interval(low: float, high: float, form: str) -> str:
    return "" if pd.isna(low) else f"[{100 * low:{form}}, {100 * high:{form}}]"


def _points(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:+.1f}"


def _percent(value: float) -> str:
    return "–" if pd.isna(value) else f"{100 * value:.1f}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: list[str], rows: Iterable[tuple]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


# table -> the section's title, and what writes it
_SECTIONS = {
    "claims": ("Claims", _claims),
    "landmarks": ("Accuracy at the landmarks", _landmarks),
    "protocols": ("The same checkpoints under each protocol", _protocols),
    "exposure": ("What the problems had to do with training", _exposure),
    "factorial": ("Rule and composition, at the last SFT step", _factorial),
    "stopping": ("Stopping without OOD labels, by regret", _stopping),
    "recipes": ("What each recipe changed, and what it took", _recipes),
    "window": ("The window of starts", _window),
    "arms": ("SFT beside its other arms", _arms),
    "published": ("Published and measured", _published),
}


if __name__ == "__main__":
    update(*sys.argv[1:])
