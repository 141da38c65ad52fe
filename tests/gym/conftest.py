"""These tests need reasoning-gym."""

from importlib import util

import pytest


def pytest_configure():
    if util.find_spec("reasoning_gym") is None:
        pytest.exit("reasoning-gym is not there: `make test-gym` installs it", 2)
