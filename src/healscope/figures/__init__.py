"""The figures of the study: each is drawn from exactly one tidy table."""
