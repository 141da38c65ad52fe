import functools

import pytest


@pytest.fixture(scope="session")
def trained(study, base_manifest, tables, task, tmp_path_factory):
    """(rows, weights of every checkpoint) of an arm of SFT, by name; each is trained once."""
    from sft_runs import LIKE, run, with_methods

    settings, folder = with_methods(study, **LIKE), tmp_path_factory.mktemp("sft")
    return functools.cache(
        lambda arm: run(settings, base_manifest, tables, task, folder / arm, arm)
    )
