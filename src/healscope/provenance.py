"""Provenance of artifacts: config, code, packages, machine, seeds and hashes of inputs."""

import hashlib
import json
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from healscope import __version__, machine
from healscope.errors import HealscopeError

PACKAGES = ("numpy", "pandas", "pyarrow", "safetensors", "scipy", "snakemake")
TORCH_PACKAGES = ("torch", "transformers", "tokenizers", "trl", "peft", "accelerate")

RESULTS_VERSION = 5
"""Raise it with code that changes results: then nothing made before counts as standing."""


def sha256(file: str | Path) -> str:
    """Return the hex digest of a file's bytes."""
    with open(file, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def fingerprint(content: object) -> str:
    """Return the hex digest of a JSON-like value, independent of key order."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version() -> dict:
    """Return what identifies the code: the package's version, a hash of its files and, in a git
    checkout, the commit and whether package or workflow differ from it.

    Installed below a folder of somebody else's repository, the package is in no checkout.
    """
    here = Path(__file__).resolve().parent
    root = here.parents[1]
    about = {"healscope": __version__, "files": _hash_of_files(here)}
    if _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return {**about, "commit": None, "modified": None}
    code = [str(here), str(root / "workflow")]
    changed = _git(here, "status", "--porcelain", "--untracked-files=normal", "--", *code)
    return {**about, "commit": _git(here, "rev-parse", "HEAD"), "modified": changed != ""}


def _git(folder: Path, *args: str) -> str | None:
    """Return git's output in a folder; None if it fails or is not installed."""
    try:
        run = subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return run.stdout.strip() if run.returncode == 0 else None


def _hash_of_files(folder: Path) -> str:
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return fingerprint({str(p.relative_to(folder)): sha256(p) for p in files})


def code_in_words(code: dict) -> str:
    """Return which code made something, in words, from the `code` of its record."""
    made = f"healscope {code['healscope']}"
    by_files = f" (sha256 of its files {code['files'][:16]})" if code.get("files") else ""
    if not code["commit"]:
        return f"{made} from outside of a git checkout{by_files}"
    made = f"{made}, commit {code['commit']}"
    return f"{made} with uncommitted changes{by_files}" if code["modified"] else made


def made_by(record: dict) -> str:
    """Return the start of a sentence that says which code made a page, from which inputs.

    It has no full stop, so that a page can add where its numbers are.
    """
    return (
        f"Made by {code_in_words(record['code'])}, from inputs with fingerprint "
        f"{record['fingerprint'][:16]}"
    )


def record(config: dict, seeds: dict | None = None, inputs: dict[str, str] | None = None) -> dict:
    """Return the provenance of one artifact.

    `config`: the values it depends on. `inputs`: file -> sha256. `fingerprint` covers these, the
    seeds and RESULTS_VERSION: an artifact that stores the same fingerprint as the job at hand is
    up to date. Code, packages and machine are recorded beside it, and make nothing stale.
    """
    what = {
        "config": _unplaced(config),
        "seeds": seeds or {},
        "inputs": inputs or {},
        "results_version": RESULTS_VERSION,
    }
    packages = PACKAGES + TORCH_PACKAGES
    return {
        **what,
        "fingerprint": fingerprint(what),
        "code": code_version(),
        "packages": {p: _version(p) for p in packages},
        "machine": machine.describe(),
    }


def _unplaced(values: object) -> object:
    """Return `values` with the names, not the paths, of files of tasks (own code, routes, a folder
    of benchmarks, data): their content is recorded as a hash, and paths of this machine are useless
    on another."""
    if isinstance(values, (list, tuple)):
        return [_unplaced(value) for value in values]
    if not isinstance(values, dict):
        return values
    found = {key: _unplaced(value) for key, value in values.items()}
    if "code" in found and str(found.get("family", "")).endswith(".py"):
        found["family"] = Path(found["family"]).name
    for key, known_by in (("routes", "routes_sha256"), ("include", "code")):
        if found.get(known_by) and isinstance(found.get(key), str):
            found[key] = Path(found[key]).name
    if isinstance(found.get("hashes"), dict):
        found = _named_files(found)
    return found


def _named_files(section: dict) -> dict:
    """Return a section with names for the paths of its files, in sections inside it too."""
    return {
        key: _named_files(value)
        if isinstance(value, dict) and key != "hashes"
        else Path(value).name
        if key in ("file", "schema_file", "verdict") and isinstance(value, str) and _local(value)
        else value
        for key, value in section.items()
    }


def _local(place: str) -> bool:
    """Return whether a source is a file or an absolute path, not an id of a hub or a name."""
    return bool(Path(place).suffix) or place.startswith(("/", "~"))


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def hashes(files: list[str] | tuple[str, ...]) -> dict[str, str]:
    """Return file -> sha256, for `record(inputs=...)`."""
    return {str(f): sha256(f) for f in files}


def write_json(file: str | Path, content: object) -> None:
    """Write JSON whole or not at all."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def read_json(file: str | Path) -> dict:
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise HealscopeError(f"{file} cannot be read ({error}); delete it and rerun") from None


def write_table(file: str | Path, frame, provenance: dict, schema) -> None:
    """Write a frame as Parquet, whole or not at all, with its provenance in the metadata.

    Raises HealscopeError where the frame does not fit the `schema` (`healscope.schema.Schema`).
    """
    import pyarrow.parquet as pq

    from healscope.schema import check

    file = Path(file)
    try:
        table = check(frame, schema)
    except HealscopeError as error:
        raise HealscopeError(f"{file} is not written: {error}") from None
    file.parent.mkdir(parents=True, exist_ok=True)
    extra = {b"healscope": json.dumps(provenance, sort_keys=True).encode()}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **extra})
    part = file.with_name(file.name + ".part")
    pq.write_table(table, part)
    part.replace(file)


def read_table(file: str | Path, columns: list[str] | None = None, optional: tuple[str, ...] = ()):
    """Read a Parquet table as a pandas frame; raises HealscopeError if it is broken.

    Of `columns` those that are `optional` may be missing: then all their values are.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        if not optional:
            return pd.read_parquet(file, columns=columns)
        there = pq.read_schema(file).names
        given = [c for c in columns if c in there or c not in optional]
        frame = pd.read_parquet(file, columns=given)
    except (OSError, ValueError) as error:
        raise HealscopeError(
            f"{file} is not a readable Parquet file, or has not the columns that it should have "
            f"({str(error).splitlines()[0]}); delete it and rerun"
        ) from None
    return frame.assign(**{c: None for c in optional if c not in there})[columns]


def read_provenance(file: str | Path) -> dict | None:
    """Return the provenance stored in a Parquet table; None if the file is missing or broken."""
    import pyarrow.parquet as pq

    try:
        stored = (pq.read_schema(file).metadata or {}).get(b"healscope")
        return json.loads(stored) if stored else None
    except (OSError, ValueError):
        return None
