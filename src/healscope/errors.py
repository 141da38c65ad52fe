"""The exception whose text is meant for the user and says what to change."""

import errno


class HealscopeError(Exception):
    """An expected failure, with one readable sentence that says what to change."""


def sentence(error: BaseException) -> str | None:
    """Return what a command prints of an expected failure: that of a HealscopeError, or which file
    the system does not let it read or write. None of any other, which is a fault to be traced."""
    if isinstance(error, HealscopeError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"{error.filename} cannot be read or written ({error.strerror}); check the path and "
            "its permissions"
        )
    return None


def one_line(error: BaseException, most: int | None = None, where: str = "") -> str:
    """Describe any exception on one line: its type, `where` it was raised, and at most `most`
    characters of what it says."""
    text = " ".join(str(error).split())[:most]
    return f"{type(error).__name__}{where}{': ' + text if text else ''}"


_FULL = {
    errno.ENOSPC: (
        "No space left on device",
        "os error 28",
        "PytorchStreamWriter failed writing",  # torch.save, and what it says while it gives up
        ". unexpected pos ",
        "iostream error",
    ),
    errno.EDQUOT: ("Disk quota exceeded", "os error 122"),
}


def disk_full(error: BaseException | None) -> str | None:
    """Return the system's message if `error`, or a cause of it, is a full disk or quota; else None.

    Libraries that write files wrap the system's error in one of their own, some without number.
    """
    while error is not None:
        for number, texts in _FULL.items():
            if getattr(error, "errno", None) == number or any(t in str(error) for t in texts):
                return texts[0]
        error = error.__cause__ or error.__context__
    return None
