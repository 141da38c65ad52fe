"""The state folder of a training run, from which a killed run resumes.

The workflow does not track this folder. States are written under another name and renamed into
place, so that there is always a whole one; a folder of another config or input is emptied.
Checkpoints are staged here and published at the end.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from healscope import provenance
from healscope.models.stored import follow_umask
from healscope.training import processes
from healscope.training.lock import Lock

ENGINE = "engine"  # folder of a state: weights and moments of DeepSpeed's processes


@dataclass(frozen=True)
class State:
    """The state of a run after `step` steps: named tensors and the rows logged so far."""

    step: int
    tensors: dict[str, torch.Tensor]
    rows: list[dict]
    folder: Path


class Workspace:
    """The state folder of one run, bound to the fingerprint of everything the run depends on.

    It is locked: a workflow that is killed can leave its jobs alive, and a second writer would ruin
    the state. Raises HealscopeError if another process holds the lock.
    """

    def __init__(self, folder: str | Path, fingerprint: str):
        self.folder = Path(folder)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(self.folder.with_name(self.folder.name + ".lock"), str(self.folder))
        mark = self.folder / "fingerprint"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != fingerprint:
            mark.unlink(missing_ok=True)  # first: a half-emptied folder matches no fingerprint
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            mark.write_text(fingerprint, encoding="utf-8")

    @classmethod
    def joined(cls, folder: str | Path) -> "Workspace":
        """Return the folder of a run that the parent process has opened and holds locked."""
        work = cls.__new__(cls)
        work.folder = Path(folder)
        return work

    @property
    def lock(self) -> int:
        """File descriptor of the lock: a process that inherits it holds the lock as well."""
        return self._lock.fileno()

    def save(
        self, step: int, tensors: dict[str, torch.Tensor], rows: list[dict], engine=None
    ) -> None:
        """Save this state and delete the one before.

        The first process writes; with `engine`, DeepSpeed's, each process writes its own part.
        """
        ahead = self.folder / (ENGINE + ".part")
        if engine is not None:
            if processes.first():
                shutil.rmtree(ahead, ignore_errors=True)
            processes.wait()
            engine.save_checkpoint(str(ahead), tag=ENGINE)
            processes.wait()
        if processes.first():
            before = self._states()
            with staged(self.folder / f"state-{step:09d}") as part:
                save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, part / "tensors")
                provenance.write_json(part / "rows.json", rows)
                if engine is not None:
                    ahead.rename(part / ENGINE)
            for old in before:
                if old != self.folder / f"state-{step:09d}":
                    shutil.rmtree(old)
        processes.wait()

    def latest(self) -> State | None:
        """Return the last whole state, or None at the very start."""
        states = self._states()
        if not states:
            return None
        folder = states[-1]
        rows = provenance.read_json(folder / "rows.json")
        step = int(folder.name.split("-")[1])
        return State(step, load_file(folder / "tensors"), rows, folder)

    def _states(self) -> list[Path]:
        return sorted(p for p in self.folder.glob("state-*") if p.suffix != ".part")

    def stage(self, checkpoint: str):
        """Return a context that writes a checkpoint folder; it appears whole or not at all."""
        return staged(self.staged(checkpoint))

    def staged(self, checkpoint: str) -> Path:
        """Return the folder of a checkpoint that waits to be published."""
        return self.folder / "checkpoints" / checkpoint

    def close(self) -> None:
        """Delete the folder and release the lock, once all outputs are published."""
        shutil.rmtree(self.folder)
        self._lock.close()


class staged:  # noqa: N801 (a context manager that reads like a word)
    """`with staged(folder) as part:` fills `part`, which becomes `folder` if nothing fails."""

    def __init__(self, folder: Path):
        self.folder, self.part = folder, folder.with_name(folder.name + ".part")

    def __enter__(self) -> Path:
        shutil.rmtree(self.part, ignore_errors=True)
        self.part.mkdir(parents=True)
        return self.part

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            follow_umask(*(p for p in self.part.rglob("*") if p.is_file()))
            before = self.folder.with_name(self.folder.name + ".old.part")
            shutil.rmtree(before, ignore_errors=True)
            if self.folder.exists():  # never half of it: it goes under another name
                self.folder.rename(before)
            self.part.rename(self.folder)
            shutil.rmtree(before, ignore_errors=True)


def keep(
    work: Workspace, step: int, parts: dict, optimizers: dict, rows: list[dict], engine=None
) -> None:
    """Save named modules, their optimizers (None is left out) and the rows logged so far.

    With `engine`, DeepSpeed's, also what that trains; all processes have to make this call.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, module in parts.items():
        tensors |= model_tensors(module, name)
    for name, optimizer in optimizers.items():
        if optimizer is not None:
            tensors |= optimizer_tensors(optimizer, name)
    work.save(step, tensors, rows, engine)


def restore(work: Workspace, parts: dict, optimizers: dict, engine=None) -> tuple[int, list[dict]]:
    """Restore what `keep` saved, in place; return (steps done, rows), (0, []) at the start."""
    before = work.latest()
    if before is None:
        return 0, []
    for name, module in parts.items():
        restore_model(module, before.tensors, name)
    for name, optimizer in optimizers.items():
        if optimizer is not None:
            restore_optimizer(optimizer, name, before.tensors)
    if engine is not None:
        engine.load_checkpoint(str(before.folder / ENGINE), tag=ENGINE)
    return before.step, before.rows


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, torch.Tensor]:
    """Return AdamW's moments and step counts as named tensors (no pickle)."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{i}.{key}": value for i, s in state.items() for key, value in s.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, torch.Tensor]
) -> None:
    """Restore the moments and step counts of `optimizer_tensors`."""
    content = optimizer.state_dict()
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, key = name.removeprefix(prefix + ".").split(".")
            content["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(content)


def model_tensors(model, prefix: str = "model") -> dict[str, torch.Tensor]:
    """Return the named tensors of a model; tied ones, which share memory, by their first name."""
    first: dict[int, str] = {}
    tensors = model.state_dict()
    for key, value in tensors.items():
        first.setdefault(value.data_ptr(), key)
    return {f"{prefix}.{k}": tensors[k].detach() for k in first.values()}


def restore_model(model, tensors: dict[str, torch.Tensor], prefix: str = "model") -> None:
    """Restore the weights of `model_tensors`."""
    start = prefix + "."
    model.load_state_dict(
        {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)},
        strict=False,  # the other names of tied tensors
    )
