"""What was published: numbers of the measured paper, each with how surely it was read.

`config/published/*.csv` holds one file per figure; docs/published-values.md tells where each number
comes from. `python -m healscope.published` prints that page's tables.
"""

import sys
from math import hypot, isfinite
from pathlib import Path

import pandas as pd
import scipy

from healscope.errors import HealscopeError
from healscope.stats import wilson

COLUMNS = ["figure", "model", "stage", "x", "split", "metric", "value", "n", "source", "trust"]
TRUST = {
    "exact": "printed label, log line or vector geometry; an accuracy with `n` is a multiple of "
    "1/n, rounded",
    "off_grid": "read as surely, but no multiple of 1/n, or the same cell was also published with "
    "another value (then both rows are kept)",
    "digitised": "read off a picture, within about 0.02",
}
ALLOWED = {
    "model": ("llama-3.2-11b", "qwen-2.5-7b"),
    "stage": ("maxood", "end", "rl", "sft", "sft+rl"),
    "split": ("id", "ood", ""),
    "metric": ("accuracy", "loss_nats", "train_loss_nats", "format_error_share"),
    "trust": tuple(TRUST),
}
KEY = ["figure", "model", "stage", "x", "split", "metric", "source"]
ROUNDING = 2e-4  # printed percentages have two decimals, some cut instead of rounded
CONTRASTS = {
    "fig1": (("maxood", "end"), ("end", "rl"), ("maxood", "rl")),
    "fig3a": (("sft", "sft+rl"),),
}


def read(folder: str | Path) -> pd.DataFrame:
    """Return every published value of a folder's CSV files.

    Columns are COLUMNS. Accuracies and format errors are shares in 0..1, losses nats per token; x
    is an SFT step, n the number of problems behind the value (either may be missing). Raises
    HealscopeError with file, line and what is allowed.
    """
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise HealscopeError(f"{folder} holds no CSV files of published values")
    return pd.concat([_file(file) for file in files], ignore_index=True)


def _file(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise HealscopeError(f"{file} is no readable CSV file: {error}") from None
    if list(frame.columns) != COLUMNS:
        raise HealscopeError(f"{file}, line 1: columns must be {','.join(COLUMNS)}")
    for line, row in enumerate(frame.to_dict("records"), start=2):
        problem = _problem(row, file.stem)
        if problem:
            raise HealscopeError(f"{file}, line {line}: {problem}")
    double = frame.duplicated(KEY)
    if double.any():
        raise HealscopeError(f"{file}, line {double.idxmax() + 2}: repeats {', '.join(KEY)}")
    whole = {c: pd.to_numeric(frame[c]).astype("Int64") for c in ("x", "n")}
    return frame.assign(value=frame["value"].astype(float), **whole)


def _problem(row: dict[str, str], stem: str) -> str | None:
    """Return what is wrong with one line, or None."""
    for column, allowed in {"figure": (stem,), **ALLOWED}.items():
        if row[column] not in allowed:
            names = ", ".join(a or "empty" for a in allowed)
            return f"{column} is {row[column]!r}, allowed: {names}"
    if not row["source"]:
        return "source is empty, allowed: repository:path or paper:section"
    for column, least in (("x", 0), ("n", 1)):
        text = row[column]
        if text and not (text.isascii() and text.isdigit() and int(text) >= least):
            return f"{column} is {text!r}, allowed: a whole number from {least}, or empty"
    most = float("inf") if row["metric"].endswith("loss_nats") else 1
    try:
        value = float(row["value"])
    except ValueError:
        value = float("nan")
    if not (isfinite(value) and 0 <= value <= most):
        return f"value is {row['value']!r}, allowed for {row['metric']}: 0 to {most}"
    if row["metric"] == "accuracy" and row["trust"] == "exact" and row["n"]:
        n = int(row["n"])
        if abs(value - round(value * n) / n) > ROUNDING:
            return f"{value} is no multiple of 1/{n}, so trust cannot be exact; allowed: off_grid"
    return None


def counts(frame: pd.DataFrame) -> pd.DataFrame:
    """Add `count` (problems solved; exact accuracies only) and the 95% Wilson `low`, `high`.

    An off_grid accuracy has no count; its limits are those of the nearest one.
    """
    frame = frame.assign(count=pd.array([pd.NA] * len(frame), "Int64"), low=None, high=None)
    known = (frame["metric"] == "accuracy") & frame["n"].notna() & (frame["trust"] != "digitised")
    for row in frame[known].itertuples():
        nearest = round(row.value * row.n)
        frame.loc[row.Index, ["low", "high"]] = wilson(nearest, row.n)
        if row.trust == "exact":
            frame.loc[row.Index, "count"] = nearest
    return frame.astype({"low": float, "high": float})


def changes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what the published accuracies establish by themselves: `fig1` by stage, `fig3a` by
    step.

    `before`, `after` and their difference `change` are as published, in shares; x is the SFT step
    of a `fig3a` row. `low`, `high` (95%, Newcombe 1998, method 10) and `p` (Fisher's exact test)
    rest on the nearest counts and take the two samples for independent: outcomes per problem were
    not published. A value published twice gives a row for each.

    The hands were drawn with replacement under one seed, and each stage was trained once, so the
    variance between seeds is in neither; `establishes` (p < 0.05) is about these checkpoints on
    such hands, and is not corrected for the number of contrasts.
    """
    rows = []
    for figure, contrasts in CONTRASTS.items():
        cells = frame[(frame["figure"] == figure) & (frame["metric"] == "accuracy")]
        if figure == "fig1":  # stages lie at different steps
            cells = cells.assign(x=pd.array([pd.NA] * len(cells), "Int64"))
        for where, cell in cells.groupby(["model", "split", "x"], dropna=False):
            rows += [
                _change(figure, *where, old, new)
                for first, second in contrasts
                for old in cell[cell["stage"] == first].itertuples()
                for new in cell[cell["stage"] == second].itertuples()
            ]
    return pd.DataFrame(rows).astype({"x": "Int64"})


def _change(figure: str, model: str, split: str, x, old, new) -> dict:
    n, m = int(old.n), int(new.n)
    low, high, p = difference(round(old.value * n), n, round(new.value * m), m)
    return {
        "figure": figure, "model": model, "split": split,
        "contrast": f"{old.stage}→{new.stage}", "x": x, "before": old.value, "after": new.value,
        "n": n, "change": new.value - old.value, "low": low, "high": high, "p": p,
        "establishes": p < 0.05,
    }  # fmt: skip


def difference(before: int, n: int, after: int, m: int) -> tuple[float, float, float]:
    """95% limits of after/m − before/n (Newcombe 1998, method 10), and Fisher's two-sided p."""
    (low_b, high_b), (low_a, high_a) = wilson(before, n), wilson(after, m)
    b, a = before / n, after / m
    low, high = a - b - hypot(a - low_a, high_b - b), a - b + hypot(high_a - a, b - low_b)
    p = scipy.stats.fisher_exact([[before, n - before], [after, m - after]]).pvalue
    return low, high, float(p)


def page(frame: pd.DataFrame) -> str:
    """Return the tables of docs/published-values.md, as Markdown."""
    trusts = pd.crosstab(frame["figure"], frame["trust"]).reindex(columns=list(TRUST), fill_value=0)
    files = [(f"{row[0]}.csv", sum(row[1:]), *row[1:]) for row in trusts.itertuples()]
    lines = [*_table(["file", "values", *TRUST], files), ""]
    lines += _table(["trust", "meaning"], TRUST.items())
    header = ["model", "split", "contrast", "step", "before", "after", "n", "change", "95%", "p"]
    for figure, rows in changes(frame).groupby("figure"):
        lines += ["", f"{figure}: accuracy in percent, changes in points, bold where p < 0.05", ""]
        lines += _table(header, map(_cells, rows.itertuples()))
    return "\n".join(lines)


def _table(header: list[str], rows) -> list[str]:
    return [f"| {' | '.join(map(str, row))} |" for row in (header, ["---"] * len(header), *rows)]


def _cells(row) -> tuple:
    change, low, high = (f"{round(100 * v, 1) + 0.0:+.1f}" for v in (row.change, row.low, row.high))
    change = f"**{change}**" if row.establishes else change
    shares = f"{100 * row.before:.2f}", f"{100 * row.after:.2f}"
    p = "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"
    x = "" if pd.isna(row.x) else row.x
    return row.model, row.split, row.contrast, x, *shares, row.n, change, f"{low} to {high}", p


if __name__ == "__main__":
    print(page(read(sys.argv[1] if len(sys.argv) > 1 else "config/published")))
