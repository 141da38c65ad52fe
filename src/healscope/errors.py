"""The one exception whose text is meant for the user: it says what to change."""

import errno


class HealscopeError(Exception):
    """A readable, one-sentence reason why a job cannot go on."""


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
    """What is full, in the system's words, where `error` or one behind it comes from that.

    Libraries that write files wrap the system's error in one of their own, some without number.
    """
    while error is not None:
        for number, texts in _FULL.items():
            if getattr(error, "errno", None) == number or any(t in str(error) for t in texts):
                return texts[0]
        error = error.__cause__ or error.__context__
    return None
