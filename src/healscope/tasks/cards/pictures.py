"""Draws the 52 cards of a deck, for prompts that show a hand instead of naming it.

A picture has the word that stands for it in prompts, as `[10h]`. Which suit a card has is no part
of a problem: it follows from the hand, so that a hand always looks the same, and no card is in it
twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SIZE = 32
"""Height and width of a picture, in pixels."""

SUITS = "shdc"
"""Spades, hearts, diamonds, clubs, as they are in words."""

_WHITE, _BLACK, _RED, _GREY = (255, 255, 255), (0, 0, 0), (200, 0, 0), (128, 128, 128)

_BITMAPS: Mapping[str, tuple[str, ...]] = {
    "A": (" ### ", "#   #", "#   #", "#####", "#   #", "#   #", "#   #"),
    "2": (" ### ", "#   #", "    #", "  ## ", " #   ", "#    ", "#####"),
    "3": (" ### ", "#   #", "    #", "  ## ", "    #", "#   #", " ### "),
    "4": ("   # ", "  ## ", " # # ", "#  # ", "#####", "   # ", "   # "),
    "5": ("#####", "#    ", "#### ", "    #", "    #", "#   #", " ### "),
    "6": (" ### ", "#    ", "#    ", "#### ", "#   #", "#   #", " ### "),
    "7": ("#####", "    #", "   # ", "   # ", "  #  ", "  #  ", "  #  "),
    "8": (" ### ", "#   #", "#   #", " ### ", "#   #", "#   #", " ### "),
    "9": (" ### ", "#   #", "#   #", " ####", "    #", "    #", " ### "),
    "10": ("#  ### ", "# #   #", "# #   #", "# #   #", "# #   #", "# #   #", "#  ### "),
    "J": ("  ###", "   # ", "   # ", "   # ", "   # ", "#  # ", " ##  "),
    "Q": (" ### ", "#   #", "#   #", "#   #", "# # #", "#  # ", " ## #"),
    "K": ("#   #", "#  # ", "# #  ", "##   ", "# #  ", "#  # ", "#   #"),
    "s": ("   #   ", "  ###  ", " ##### ", "#######", "### ###", "   #   ", "  ###  "),
    "h": (" ## ## ", "#######", "#######", "#######", " ##### ", "  ###  ", "   #   "),
    "d": ("   #   ", "  ###  ", " ##### ", "#######", " ##### ", "  ###  ", "   #   "),
    "c": ("  ###  ", "  ###  ", "## # ##", "#######", "## # ##", "   #   ", "  ###  "),
}
WORDS = tuple(f"[{rank}{suit}]" for rank in [*_BITMAPS][: -len(SUITS)] for suit in SUITS)
"""The word of every picture, in a fixed order."""


def words(cards: Sequence[str]) -> list[str]:
    """Return the words of the pictures that show these ranks, in their order."""
    found = []
    for place, rank in enumerate(cards):
        drawn = hashlib.sha256(" ".join([rank, *cards]).encode()).digest()[0]
        found.append(f"[{rank}{SUITS[(drawn + cards[:place].count(rank)) % len(SUITS)]}]")
    return found


def draw() -> dict[str, np.ndarray]:
    """Return word -> picture (SIZE, SIZE, 3) of all cards, in RGB of 8 bits, in order of WORDS.

    A card has its rank above on the left and its suit below on the right, each pixel of a bitmap
    twice as large, in red or black on white with a grey frame.
    """
    import numpy as np

    found = {}
    for word in WORDS:
        rank, suit = word[1:-2], word[-2]
        card = np.full((SIZE, SIZE, 3), _WHITE, dtype=np.uint8)
        card[[0, -1]] = card[:, [0, -1]] = _GREY
        colour = _RED if suit in "hd" else _BLACK
        for name, at_end in ((rank, False), (suit, True)):
            bitmap = np.array([[pixel == "#" for pixel in row] for row in _BITMAPS[name]])
            shape = bitmap.repeat(2, 0).repeat(2, 1)
            top, left = ((SIZE - 2 - side) * at_end + (not at_end) * 2 for side in shape.shape)
            card[top : top + shape.shape[0], left : left + shape.shape[1]][shape] = colour
        found[word] = card
    return found
