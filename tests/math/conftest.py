"""Tests of what needs math-verify."""

from importlib import util

import pytest


def pytest_configure():
    if util.find_spec("math_verify") is None:
        pytest.exit("math-verify is not there: `make test-math` installs it", 2)
