"""Runs the commands of healscope by `python -m healscope`."""

import sys

from healscope.cli import main

sys.exit(main())
