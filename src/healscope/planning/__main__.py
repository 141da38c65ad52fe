"""Rewrites the plans in docs/paper-study.md, in a checkout (`python -m healscope.planning`)."""

import tempfile
from pathlib import Path

from healscope.planning import plan

PAGE = Path("docs/paper-study.md")
PAPER = "config/paper.yaml"
STUDIES = (PAPER, f"{PAPER} config/paper-decides.yaml", "config/one-gpu.yaml")


def written(page: str, config: str, table: str) -> str:
    """Return `page` with the plan of a study between the lines that mark its place."""
    begin, end = f"<!-- plan of {config} -->\n", f"<!-- end of {config} -->\n"
    before, rest = page.split(begin)
    return f"{before}{begin}```\n{table}\n```\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    for study in STUDIES:
        with tempfile.TemporaryDirectory() as empty:
            text = written(text, study, plan(study.split(), directory=empty))
    PAGE.write_text(text, encoding="utf-8")
