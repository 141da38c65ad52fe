"""Weights in formats that are not read, and the command that makes of each what is read."""

import re
from pathlib import Path

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_STEP = re.compile(r"(?:checkpoint|ckpt|global_step|steps?|sft|iter)[-_]?(\d+)")
"""Names of folders of one run's checkpoints, with their steps."""


def steps(run: Path) -> dict[int, Path]:
    """Return step -> folder of a training run's checkpoints, by their names (`checkpoint-500`)."""
    found = {}
    for place in sorted(run.iterdir()) if run.is_dir() else ():
        match = _STEP.fullmatch(place.name)
        if match and int(match[1]) and place.is_dir():
            found[int(match[1])] = place
    return dict(sorted(found.items()))


def of_file(file: Path) -> str:
    """Return why a file is no source, if its format is known."""
    return _gguf(file) if file.suffix == ".gguf" else ""


def of_folder(place: Path) -> str:
    """Return why a folder without weights in safetensors is no source, and which command makes one
    of it; empty if nothing in it is known."""
    names = sorted(p.name for p in place.iterdir())
    folders = [n for n in names if n.startswith("pytorch_model_fsdp") and (place / n).is_dir()]
    if folders or any(n.endswith(".distcp") for n in names):
        parts = folders[0] if folders else "."
        return (
            "holds the parts of a model, as FSDP saves them. Join them: `accelerate merge-weights "
            f"{place / parts} OUT`, copy config.json and tokenizer files there, and give OUT"
        )
    if "zero_to_fp32.py" in names or any(place.glob("global_step*/*zero_pp_rank*")):
        return (
            "holds the parts of a model, as DeepSpeed saves them. Join them: `python "
            f"{place / 'zero_to_fp32.py'} {place} OUT --safe_serialization`, copy config.json and "
            "tokenizer files there, and give OUT"
        )
    if any(re.fullmatch(r"model_world_size_\d+_rank_\d+\.pt", n) for n in names):
        return (
            "holds the parts of a model, as verl saves them. Join them: `python -m "
            f"verl.model_merger merge --backend fsdp --local_dir {place} --target_dir OUT`, and "
            "give OUT"
        )
    if any(re.fullmatch(r"mp_rank_\d+.*", n) for n in names):
        return (
            "holds a model in Megatron's format; convert it with the export of the program that "
            "trained it (Megatron Bridge: AutoBridge.export_ckpt) and give that folder"
        )
    if gguf := next((n for n in names if n.endswith(".gguf")), None):
        return _gguf(place / gguf)
    if any(n.endswith(_PICKLES) for n in names if "optimizer" not in n and n != "scheduler.pt"):
        own = [n for n in names if re.fullmatch(r"pytorch_model.*\.bin", n)]
        request = (
            ". Or set models.*.pickles: true, and tensors alone are read from them, in a process "
            "of its own"
        )
        return (
            "its weights are pickles, which can run code; only safetensors are read. Convert them "
            "where you trust them: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained("
            f"NEW_FOLDER){request if own else ''}"
        )
    if found := steps(place):
        some = ", ".join(p.name for p in list(found.values())[:3])
        return (
            f"holds no model, but checkpoints of a run ({some}): name one of them, or give the "
            "whole folder as models.*.sft"
        )
    if any(n.endswith((".msgpack", ".h5", ".onnx")) for n in names):
        return (
            "holds weights of another framework; load them with transformers (from_flax or "
            "from_tf, version 4) and save_pretrained"
        )
    return ""


def _gguf(file: Path) -> str:
    return (
        f"{file.name} is a GGUF file. `healscope dequantise {file} OUT` turns it into the model "
        "that it was made from, as far as its rounding allows; give OUT"
    )
