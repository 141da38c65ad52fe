"""What of a parametrized test waits for `make test-all`: the marker `long`, case by case."""

import pytest


def later(*values: object):
    """A case of the long target alone."""
    return pytest.param(*values, marks=pytest.mark.long)


def first(usual, cases) -> list:
    """All `cases`; those that are not `usual` are of the long target alone."""
    return [
        case if case in usual else later(*(case if isinstance(case, tuple) else [case]))
        for case in cases
    ]
