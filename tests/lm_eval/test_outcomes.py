"""Outcomes that the installed harness writes are read as those that are stored here."""

import sys

from outcome_tables import FILES

from healscope.outcomes.comparing import compare


def test_files_of_the_installed_harness(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FILES))
    import write

    write.lm_eval(tmp_path)
    sys.modules.pop("write")
    new, stored = (
        compare([(m, [folder / m]) for m in ("base", "tuned")])
        for folder in (tmp_path, FILES / "lm-eval")
    )
    for key in ("answer", "benchmarks", "changes", "flips", "notes"):
        assert new[key] == stored[key]
