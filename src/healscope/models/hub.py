"""Find the files of a hub's models on this machine, or say in one sentence why they are missing."""

from collections.abc import Sequence
from pathlib import Path

from healscope.config import sources
from healscope.errors import HealscopeError, disk_full

FILES = tuple(f"*{ending}" for ending in sources.KEPT)
NOT_THESE = ("*/*", "consolidated*")  # the same weights in other formats


def folder(source: str, revision: str | None = None, files: Sequence[str] = FILES) -> Path:
    """Return the folder of a model: `source` itself where it is one, else the cached files of the
    hub's repository of that id. Files that match the patterns in `files` are fetched if missing.

    After an interrupted download only incomplete files are fetched again. Once all files are here,
    no hub is needed. Raises HealscopeError if the files cannot be fetched, after at most
    HF_HUB_ETAG_TIMEOUT seconds without an answer.
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import HfApi, constants, errors, snapshot_download  # here: it takes time

    named = f"model '{source}'" + (f", revision {revision}," if revision else "")
    at, unreachable = constants.ENDPOINT, None
    known = errors.HFValidationError, errors.RevisionNotFoundError, errors.RepositoryNotFoundError
    try:
        try:  # what fetches all files asks this as well, but would wait for ever
            HfApi().model_info(source, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        except known:
            raise
        except Exception as error:  # of the client or of a library below it: there is no common one
            unreachable = error
        return Path(
            snapshot_download(
                source,
                revision=revision,
                allow_patterns=list(files),
                ignore_patterns=list(NOT_THESE),
                local_files_only=unreachable is not None,
            )
        )
    except errors.HFValidationError:
        reason = "is neither a folder here nor a hub id; give a path or `owner/name`"
    except errors.GatedRepoError:
        reason = (
            f"is gated: accept its licence at {at}/{source} with your account, set HF_TOKEN to a "
            f"token of that account ({_token()}), and rerun"
        )
    except errors.RevisionNotFoundError:
        reason = f"is not at {at}: correct the revision to a branch, tag or commit of that model"
    except errors.RepositoryNotFoundError:
        reason = (
            f"is neither a folder here nor a model at {at}: correct the path or id; for a private "
            f"model set HF_TOKEN ({_token()})"
        )
    except Exception as error:
        if disk_full(error) or getattr(error, "filename", None):
            raise  # this machine's fault, not the network's
        reason = _not_fetched(source, at, unreachable or error)
    raise HealscopeError(f"{named} {reason}")


def _not_fetched(source: str, at: str, error: Exception) -> str:
    from huggingface_hub import constants, errors

    elsewhere = f"run `hf download {source}` with the same HF_HOME on a machine that has a network"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"is neither a folder here nor whole in the cache {constants.HF_HUB_CACHE}, and "
            f"HF_HUB_OFFLINE=1 forbids to fetch it: {elsewhere}, or give a folder"
        )
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".: ")
    return (
        f"cannot be fetched, {at} does not answer as a hub does ({first}): if this machine has no "
        f"network, as compute nodes often have none, {elsewhere} and set HF_HUB_OFFLINE=1; if it "
        "has, check the id and HF_ENDPOINT; a rerun continues"
    )


def _token() -> str:
    from huggingface_hub import get_token

    return "one is set, and not enough" if get_token() else "none is set"
