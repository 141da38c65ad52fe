"""`python -m healscope.results_page FOLDER PAGE [TABLE ...]`"""

import sys

from healscope.results_page import update

if __name__ == "__main__":
    update(*sys.argv[1:])
