"""The one exception whose text is meant for the user: it says what to change."""


class HealscopeError(Exception):
    """A readable, one-sentence reason why a job cannot go on."""
