"""Convert pickled weights (`.bin`) into safetensors, in a process of its own.

`python -m healscope.models.pickled OUT FILE ...` writes one file in OUT for each FILE. Tensors
alone are read (`torch.load` with weights_only=True); a file that holds anything else is refused.
Tensors that share memory are written under each of their names.
"""

import subprocess
import sys
from pathlib import Path

from healscope.config import adapters, sources
from healscope.errors import HealscopeError

MINUTES = 60  # that the process may take


def converted(name: str, place: Path, out: Path) -> Path:
    """Return a new folder `out` that holds a checkpoint with its pickled weights as safetensors,
    and links to what else `place` holds; raises HealscopeError where they cannot be read."""
    files = sources.pickled(place)
    out.mkdir(parents=True)
    for file in (Path(f) for f in sources.files(str(place))):
        if file.name != "pytorch_model.bin.index.json":
            (out / file.name).symlink_to(file.resolve())
    command = [sys.executable, "-m", __spec__.name, str(out), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise HealscopeError(
            f"{name}: {files[0]} holds no weights that can be read without running code ({last}); "
            "convert it where you trust it, with save_pretrained"
        )
    return out


def _name(file: Path) -> str:
    if file.name == adapters.PICKLED:
        return adapters.WEIGHTS
    return file.with_suffix(".safetensors").name.replace("pytorch_model", "model")


def _convert(file: Path, out: Path) -> None:
    import torch
    from safetensors.torch import save_file

    held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(held, dict) and isinstance(held.get("state_dict"), dict):
        held = held["state_dict"]
    if not isinstance(held, dict) or not all(isinstance(t, torch.Tensor) for t in held.values()):
        raise ValueError("it holds something else than tensors by name")
    weights = {name: tensor.contiguous().clone() for name, tensor in held.items()}
    save_file(weights, out / _name(file), metadata={"format": "pt"})


if __name__ == "__main__":
    for given in sys.argv[2:]:
        _convert(Path(given), Path(sys.argv[1]))
