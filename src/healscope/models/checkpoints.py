"""Save, verify, load and delete the weights of checkpoints on disk.

`checkpoint.json` holds the size and sha256 of every file, and the provenance. A folder without it
is unfinished; a folder whose bytes differ from it is refused by name. Right bytes can still make
another model (keys that do not match, another version of transformers): see `integrity`.
"""

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file

from healscope import artifacts, provenance
from healscope.errors import HealscopeError
from healscope.models import integrity
from healscope.models.stored import MANIFEST, follow_umask

DROPPED = Path(artifacts.DROPPED).name
WEIGHTS = "model.safetensors"
_DROPOUT = re.compile("dropout|pdrop|layerdrop|layer_drop|drop_path|drop_prob")


def save_weights(folder: str | Path, model, tokenizer) -> None:
    """Write model and tokenizer as a Hugging Face folder (no manifest yet).

    Logits for a stored prompt are written too; `load_model` compares them with its own. So are
    pictures that the model sees.
    """
    from healscope.models import pictures  # here: it imports transformers

    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    pictures.save(folder, model)
    integrity.record_logits(folder, model)


def publish(folder: str | Path, manifest: str | Path, record: dict) -> None:
    """Move a staged folder's files to the folder of `manifest` (hard links if possible), then write
    the manifest."""
    _publish(sorted(p for p in Path(folder).iterdir() if p.is_file()), manifest, record)


def publish_failure(reason: str, manifest: str | Path, record: dict) -> None:
    """Write the manifest of a run that failed: no weights, but the reason (`failure`)."""
    _publish([], manifest, record, failed=reason)


def failure(manifest: str | Path) -> str:
    """Return why the run of a manifest failed; empty if it did not."""
    return provenance.read_json(manifest).get("failed", "")


def _publish(files_found: list[Path], manifest: str | Path, record: dict, **more: str) -> None:
    target = Path(manifest).parent
    Path(manifest).unlink(missing_ok=True)  # first: it speaks of files that go now
    shutil.rmtree(target, ignore_errors=True)  # no file of an older checkpoint stays behind
    target.mkdir(parents=True)
    files = {}
    for file in files_found:
        if file.name == MANIFEST:
            continue
        destination = target / file.name
        try:
            os.link(file, destination)
        except OSError:  # another file system
            shutil.copy2(file, destination)
        follow_umask(destination)
        files[file.name] = {"bytes": file.stat().st_size, "sha256": provenance.sha256(file)}
    provenance.write_json(manifest, {"files": files, **more, "provenance": record})


def drop(manifest: str | Path, landmarks: dict[str, dict], record: dict) -> None:
    """Delete the weights behind a manifest, unless one of the landmarks is this checkpoint, and
    write beside it which files went and their bytes, or why they stay. Small files stay."""
    manifest = Path(manifest)
    folder, about = manifest.parent, manifest.with_name(DROPPED)
    roles = [name for name, mark in landmarks.items() if mark["checkpoint"] == folder.name]
    files = provenance.read_json(manifest)["files"]
    gone = {n: f["bytes"] for n, f in files.items() if n.endswith(".safetensors") and not roles}
    content = {"deleted": gone, "kept_as": roles, "provenance": record}
    provenance.write_json(about, content)  # first: what is missing is then explained
    for name in gone:
        (folder / name).unlink(missing_ok=True)


def verify(manifest: str | Path) -> dict:
    """Read a manifest and check every file's size and hash against it; of an adapter, its base's
    too."""
    content = provenance.read_json(manifest)
    if "failed" in content:
        raise HealscopeError(f"{manifest} holds no weights, its run failed: {content['failed']}")
    folder = Path(manifest).parent
    for name, expected in content["files"].items():
        file = folder / name
        if not file.is_file():
            if (folder / DROPPED).is_file():
                raise HealscopeError(
                    f"the weights of {folder} were deleted when nothing needed them any more "
                    f"(checkpoints.keep: landmarks); delete {manifest} and rerun to make them "
                    "again (docs/paper-study.md says what else may then rerun)"
                )
            raise HealscopeError(f"{file} is missing; delete {manifest} and rerun to rebuild it")
        if (
            file.stat().st_size != expected["bytes"]
            or provenance.sha256(file) != expected["sha256"]
        ):
            raise HealscopeError(
                f"{file} differs from what was saved; delete {manifest} and rerun to rebuild it"
            )
    if base := content.get("reading", {}).get("base"):
        verify(folder / base / MANIFEST)
    return content


def load_model(manifest: str | Path, precision: str = "float32"):
    """Return (model in a precision on the best device, tokenizer) of a verified checkpoint.

    The model has no dropout, also where its config.json has some: training would draw it from the
    global generator, and ratios of probabilities would compare two networks. It is said once.

    Raises HealscopeError where files differ from the manifest, keys do not all match, or the model
    no longer computes the logits that were recorded when it was saved.
    """
    from healscope.models.tokens import load_tokenizer  # here: it imports transformers

    verify(manifest)
    folder = str(Path(manifest).parent)
    model = integrity.load(folder, dtype=getattr(torch, precision)).to(device())
    integrity.check_logits(folder, model)
    without_dropout(model)
    return model, load_tokenizer(folder)


def without_dropout(model) -> None:
    """Set every rate of dropout to 0: of modules, of attributes that forward passes read, and in
    the configs, which are saved with the model."""
    places = list(model.modules())
    configs = {id(c): c for c in (getattr(part, "config", None) for part in places) if c}
    for config in list(configs.values()):
        for name in getattr(config, "sub_configs", ()):
            configs[id(getattr(config, name, None))] = getattr(config, name, None)
    off: dict[str, float] = {}
    for place in (*places, *configs.values()):
        for name, rate in list(getattr(place, "__dict__", {}).items()):
            if _is_dropout(place, name) and isinstance(rate, float) and rate > 0:
                setattr(place, name, 0.0)
                if not isinstance(place, torch.nn.Module):
                    off[name] = rate
    _say_dropout(", ".join(f"{name} {rate:g}" for name, rate in sorted(off.items())))


def _is_dropout(place, name: str) -> bool:
    if name == "p":
        return isinstance(place, torch.nn.modules.dropout._DropoutNd)
    return _DROPOUT.search(name) is not None


@cache
def _say_dropout(what: str) -> None:
    if what:
        print(
            f"healscope: dropout is off in all training (config.json has {what})", file=sys.stderr
        )


def load_weights(manifest: str | Path) -> dict[str, torch.Tensor]:
    """Return name -> tensor of a verified checkpoint, on the CPU, from all shards."""
    content = verify(manifest)
    tensors: dict[str, torch.Tensor] = {}
    for name in content["files"]:
        if name.endswith(".safetensors"):
            tensors.update(load_file(Path(manifest).parent / name))
    return tensors


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def decoder(model):
    """Return the part of a causal language model that computes hidden states, without the head.

    The language part of Mllama names itself as its decoder (transformers 5.19).
    """
    found = model.get_decoder()
    return found.model if hasattr(found, "lm_head") else found


class _Read(tuple):
    """What a decoder has returned, of one tensor: the last hidden states. All else is None."""

    @property
    def last_hidden_state(self) -> torch.Tensor:
        return self[0]

    def __getattr__(self, name: str) -> None:  # caches, routers: each family has its own
        if name.startswith("_"):
            raise AttributeError(name)


def logits(model, hidden: torch.Tensor) -> torch.Tensor:
    """Return the logits (..., V) that a causal language model makes of last hidden states (..., H).

    Some models change what their output layer returns: Gemma 2 caps it, Granite and Cohere scale
    it. So the forward pass of the model itself makes the logits, while its decoder returns `hidden`
    instead of reading a text.
    """
    states = hidden if hidden.dim() == 3 else hidden[None]
    part = decoder(model)
    own = vars(part).get("forward")  # an instance has one where another library wraps it
    part.forward = lambda *_, **__: _Read([states])
    try:
        token = torch.zeros(1, 1, dtype=torch.long, device=hidden.device)
        found = model(input_ids=token, use_cache=False).logits
    finally:
        if own is None:
            del part.forward
        else:
            part.forward = own
    return found if hidden.dim() == 3 else found[0]


def freeze(model, patterns: list[str]) -> list[torch.nn.Parameter]:
    """Freeze parameters whose name contains a pattern; return those still trained."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(p in name for p in patterns))
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise HealscopeError(f"freeze: {patterns} leaves no parameter to train")
    return trained
