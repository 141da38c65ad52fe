"""Import a Python file of a user, by exactly the bytes that were hashed."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType

from healscope.errors import HealscopeError, one_line


def load(file: str, key: str, remedy: str) -> tuple[ModuleType, str]:
    """Import a file as a module; return it with its hash. The same bytes are imported once.

    Raises HealscopeError, with the key of the config that names the file, where it cannot be read
    or imported. `remedy` says what to do where it imports a module that lies beside it, which could
    change unnoticed.
    """
    place = Path(file).expanduser()
    try:
        source = place.read_bytes()
    except OSError as error:
        raise HealscopeError(
            f"{key}: the file {file} cannot be read from {Path.cwd()} "
            f"({error.strerror or error}); correct the path, or give an absolute one"
        ) from None
    digest = hashlib.sha256(source).hexdigest()
    name = f"healscope_own_task_{digest[:16]}"
    module = _module(name, place.resolve(), source, f"{key}: {file}", remedy)
    return module, f"sha256:{digest}"


class _Read(SourceLoader):
    """Import exactly the bytes that were hashed, without a compiled file beside them."""

    def __init__(self, place: Path, source: bytes):
        self.place, self.source = place, source

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        return str(self.place)

    def get_data(self, path: str) -> bytes:
        if path != str(self.place):
            raise OSError  # a compiled one, which may be of other bytes
        return self.source


def _module(name: str, place: Path, source: bytes, said: str, remedy: str) -> ModuleType:
    """Import a file as a module with a unique name; the same bytes are imported once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_loader(name, _Read(place, source))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for themselves there
    try:
        with same_path():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise HealscopeError(
            f"{said} cannot be imported, {in_words(error, place)}; {_remedy(error, place, remedy)}"
        ) from None
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _remedy(error: BaseException, place: Path, remedy: str) -> str:
    missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
    if missing and (place.parent / f"{missing.partition('.')[0]}.py").is_file():
        return remedy
    return f"install {missing} or correct the file" if missing else "correct the file"


@contextmanager
def same_path() -> Iterator[None]:
    """Restore Python's search path afterwards."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


def in_words(error: BaseException, place: Path | None = None) -> str:
    """Describe an exception on one line, with the line of the file that raised it."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = None if line else error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(place):
            line = trace.tb_lineno
        trace = trace.tb_next
    return one_line(error, where=f" in line {line}" if line else "")
