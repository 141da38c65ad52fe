"""Each script runs by itself; other tests fork its jobs from a process that has imported much."""

import pytest
from runner import ROOT

SCRIPTS = {file.name for file in (ROOT / "workflow/scripts").glob("*.py")}
OF_OTHER_STUDIES = {"take.py", "drop_weights.py", "mask_overlap.py", "pool.py"}


@pytest.mark.long
def test_every_script_of_the_micro_study_runs_in_a_new_process(copy):
    assert OF_OTHER_STUDIES < SCRIPTS
    assert copy.fresh() == SCRIPTS - OF_OTHER_STUDIES


def test_a_script_has_at_most_40_lines():
    for name in SCRIPTS:
        assert len((ROOT / "workflow/scripts" / name).read_text().splitlines()) <= 40, name
