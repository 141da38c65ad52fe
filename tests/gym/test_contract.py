"""A task of reasoning-gym keeps what every task has to keep."""

from healscope.tasks import contract

SUMS = {"dataset": "chain_sum", "options": {"max_terms": 3, "max_digits": 2}}


def test_data_sets_keep_the_contract():
    options = {"options": {"min_terms": 4, "max_terms": 5}}
    section = {"family": "gym", "id": SUMS, "ood": {"more_terms": options}, "generated": 40}
    checked = contract.opened(section)
    wrong = {found.name: found.wrong[:5] for found in contract.findings(checked) if found.wrong}
    assert not wrong
