"""The card game GeneralPoints: make a target from the numbers of four cards."""
