"""Progress bars that stay readable when several jobs share one screen.

On a terminal of its own a bar is an ordinary tqdm bar. Inside a workflow, where jobs run side by
side and output may go to a file, each refresh is a line of its own, every few seconds.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

LINES = "HEALSCOPE_PROGRESS_LINES"  # set by workflow jobs
SECONDS_BETWEEN_LINES = 5.0
SECONDS_BEFORE_LINES = 3.0  # what takes a moment needs no bar


class _Lines:
    """A text stream that turns tqdm's carriage returns into lines."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


class Bar(tqdm):
    """A tqdm bar over `total` units; `note` sets the text after it."""

    def __init__(self, total: int, label: str, done: int = 0, unit: str = "step"):
        lines = bool(os.environ.get(LINES)) or not sys.stderr.isatty()
        super().__init__(
            total=total,
            desc=label,
            initial=done,
            unit=unit,
            file=_Lines() if lines else sys.stderr,
            ascii=" =" if lines else None,
            ncols=100,
            mininterval=SECONDS_BETWEEN_LINES if lines else 0.2,
            maxinterval=SECONDS_BETWEEN_LINES if lines else 10,
            leave=not lines,
            delay=SECONDS_BEFORE_LINES if lines else 0,
        )

    def note(self, **values: float) -> None:
        self.set_postfix({k: f"{v:.3g}" for k, v in values.items()}, refresh=False)


def track(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Iterate with a progress bar."""
    items = items if total is not None else list(items)
    with Bar(total if total is not None else len(items), label, unit="item") as bar:
        for item in items:
            yield item
            bar.update()
