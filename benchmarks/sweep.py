"""A sweep of ten edits: ours against the released procedure, generation excluded.

    python benchmarks/sweep.py [tiny|large|FOLDER FOLDER]

The released procedure (jinhangzhan/RL_Heals_SFT, analysis/svd_recover_dir.py), written anew from
its description: for every k, a float32 SVD of each matrix of both checkpoints, the leading k
directions spliced, the whole model saved, and loaded again as an evaluation does. Ours:
`spectra.sweep`, with factors computed in the same run (cold) and with those of an earlier one
(cached). Both edit the same matrices of the same weights at the same ten shares of the rank.

Times are CPU seconds of one thread without imports. Each run has a process of its own, whose peak
memory (getrusage) is told less that of an empty one. What a further point costs is from a grid of
twenty. `tiny`: a model of the tiny world's shape; `large`: a random Llama of 104 million weights,
whose released procedure is timed at one share and counted ten times.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]
SHAPES = {
    "tiny": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
             "num_attention_heads": 4, "vocab_size": 47},
    "large": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 6,
              "num_attention_heads": 12, "vocab_size": 40_000, "tie_word_embeddings": False},
}  # fmt: skip


def make(shape: str, folder: Path) -> None:
    """A random model, in `target`, and another one half a percent away from it, in `parent`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape]))
    for place in ("target", "parent"):
        model.save_pretrained(folder / place)
        with torch.no_grad():
            for w in model.parameters():
                w.add_(0.005 * w.std() * torch.randn_like(w))


def released(target: Path, parent: Path, scratch: Path, shares: list[float]) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from healscope.spectra.matrices import matrices

    for share in shares:
        old, new = (load_file(folder / "model.safetensors") for folder in (target, parent))
        for matrix in matrices({n: w.shape for n, w in old.items()}, ROLES):
            (u, s, v), (u0, _, v0) = (
                torch.linalg.svd(w[matrix.name].float(), full_matrices=False) for w in (old, new)
            )
            k = max(1, round(share * len(s)))
            u = torch.cat([u0[:, :k], u[:, k:]], 1)
            v = torch.cat([v0[:k], v[k:]], 0)
            old[matrix.name] = u @ torch.diag(s) @ v
        model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
        model.load_state_dict(old, strict=False)
        model.save_pretrained(scratch)
        AutoModelForCausalLM.from_pretrained(scratch, dtype=torch.float32)


def ours(target: Path, parent: Path, scratch: Path, shares: list[float]) -> None:
    """The skeleton loaded, then every edit put into it; factors from `scratch` where they lie."""
    from transformers import AutoModelForCausalLM

    from healscope.edit_names import along
    from healscope.models.stored import Stored
    from healscope.models.variants import load_each
    from healscope.spectra.sweep import Pair, Sweep

    weights = Stored(target), Stored(parent)
    factors = [_factors(folder, scratch) for folder in (target, parent)]
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    variants = Sweep(Pair(*weights, *factors)).variants(
        [along("directions", "rank", share) for share in shares]
    )
    assert len(list(load_each(model, variants, weights[0]))) == len(shares)


def nothing(target: Path, parent: Path, scratch: Path, shares: list[float]) -> None:
    """What imports and an empty run take."""


def _factors(folder: Path, scratch: Path):
    from healscope.spectra import factors

    manifest = scratch / folder.name / "factors.json"
    if not manifest.exists():
        factors.write(manifest, factors.load(folder, ROLES, scratch / "cache"), {})
    return factors.read(manifest)


def one(procedure: str, target: str, parent: str, scratch: str, points: str, used: str) -> None:
    """Run one procedure at the last `used` of a grid; print its seconds and peak memory."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from healscope.spectra import factors, sweep  # noqa: F401

    torch.set_num_threads(1)
    warm = Path(scratch) / "warm"  # whatever transformers imports when it first saves and loads
    LlamaForCausalLM(LlamaConfig(**SHAPES["tiny"])).save_pretrained(warm)
    LlamaForCausalLM.from_pretrained(warm)
    grid = [(i + 1) / int(points) for i in range(int(points))]
    begin = time.process_time()
    globals()[procedure](Path(target), Path(parent), Path(scratch), grid[-int(used) :])
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def measured(procedure: str, folders: list[Path], scratch: Path, points: int, used: int) -> dict:
    command = [sys.executable, __file__, "--one", procedure, *map(str, folders), str(scratch)]
    done = subprocess.run(
        [*command, str(points), str(used)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(name: str, folders: list[Path], scratch: Path, used: int) -> None:
    """Print seconds, ratios and memory; `used`: shares at which the released one is timed."""
    from healscope.models.stored import Stored

    stored = Stored(folders[0])
    size = sum(stored[n].numel() for n in stored)
    empty = measured("nothing", folders, scratch, 10, 10)["peak"]
    base = measured("released", folders, scratch / "released", 10, used)
    cold, cached = (measured("ours", folders, scratch / "factors", 10, 10) for _ in range(2))
    more = measured("ours", folders, scratch / "factors", 20, 20)
    theirs = base["seconds"] * 10 / used
    print(f"{name}: {size / 1e6:.1f} million parameters, 10 points")
    for label, seconds, run in (
        ("released", theirs, base),
        ("ours, factors computed", cold["seconds"], cold),
        ("ours, factors cached", cached["seconds"], cached),
    ):
        memory = run["peak"] - empty
        print(
            f"  {label:24s}{seconds:9.2f} s   ratio {theirs / seconds:6.1f}   "
            f"peak {memory / 2**20:6.0f} MB, {memory / (4 * size):5.2f} times the model"
        )
    further = (more["seconds"] - cached["seconds"]) / 10
    print(f"  a further point: {further * 1000:.1f} ms, ratio {theirs / 10 / further:.1f}")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--one"]:
        one(*arguments[1:])
        return
    if arguments[:1] == ["--make"]:
        make(arguments[1], Path(arguments[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if len(arguments) == 2:
            compare("given", [Path(a) for a in arguments], scratch, 10)
        for shape in arguments if len(arguments) == 1 else [] if arguments else SHAPES:
            # in a process of its own: children start with the peak of the one that starts them
            command = [sys.executable, __file__, "--make", shape, str(scratch / shape)]
            subprocess.run(command, capture_output=True, check=True)
            folders = [scratch / shape / "target", scratch / shape / "parent"]
            compare(shape, folders, scratch / shape, 10 if shape == "tiny" else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
