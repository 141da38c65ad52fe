"""Generation, verdicts and losses of a stream of variants on fixed problems."""
