"""Tests of what needs mergekit."""

from importlib import util

import pytest


def pytest_configure():
    if util.find_spec("mergekit") is None:
        pytest.exit("mergekit is not there: `make test-mergekit` installs it", 2)
