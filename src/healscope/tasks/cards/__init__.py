"""The card game Game: make a target from the numbers of four cards."""
