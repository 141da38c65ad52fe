"""Benchmarks keep what every task has to keep."""

from conftest import CAPITALS, SUMS, capitals, sums

from healscope.tasks import contract


def test_benchmarks_keep_the_contract(empty):
    empty.add("sums", sums(30), **SUMS)
    empty.add("capitals", capitals(15), **CAPITALS)
    section = {"family": "lm_eval", "id": ["sums"], "ood": ["capitals"]}
    checked = contract.opened({**section, "include": str(empty.tasks)})
    wrong = {found.name: found.wrong[:5] for found in contract.findings(checked) if found.wrong}
    assert not wrong
