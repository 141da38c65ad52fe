import functools

import pytest
from given import miniature, save


@pytest.fixture(scope="session")
def trained(study, base_manifest, tables, task, tmp_path_factory):
    """(rows, weights of every checkpoint) of an arm of SFT, by name; each is trained once."""
    from sft_runs import LIKE, run, with_methods

    settings, folder = with_methods(study, **LIKE), tmp_path_factory.mktemp("sft")
    return functools.cache(
        lambda arm: run(settings, base_manifest, tables, task, folder / arm, arm)
    )


@pytest.fixture
def llama(tmp_path):
    """(folder of the base, folder of a checkpoint) as a user gives them."""
    model, tokenizer = miniature("Llama")
    base = save(tmp_path / "mine/base", model, tokenizer)
    return base, save(tmp_path / "mine/sft-5", model, tokenizer, 0.05)
