"""A sweep of ten edits of one layer of a real model, and the memory of a sweep of all layers.

    python benchmarks/sweep_layer.py FOLDER LAYER [--edits 10] [--memory 3]

Takes seconds where `sweep.py` takes minutes: nothing is loaded by transformers, saved or generated.
The target is this layer of the model in FOLDER, the parent the same with half a percent of noise.
Times are CPU seconds of one thread; the released procedure is timed at one share of the rank and
counted `--edits` times. With `--memory` so many edits are then made of a model of as many copies of
the layer as the model has, beside its embeddings, in a process of its own: peak memory above that
after the imports, with factors in float32, the weights of all tensors being held as a model's are.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]


def make(source: Path, layer: int, folders: list[Path], copies: int) -> None:
    """Write target and parent: `copies` times one layer, and where there are several, the rest."""
    draw = torch.Generator().manual_seed(0)
    with safe_open(source / "model.safetensors", "pt") as file:
        names = list(file.keys())
        inside = {n: file.get_tensor(n) for n in names if f".layers.{layer}." in n}
        outside = {n: file.get_tensor(n) for n in names if ".layers." not in n and copies > 1}
    for folder in folders:
        folder.mkdir(parents=True)
        shutil.copy(source / "config.json", folder)
        copied = {
            n.replace(f".layers.{layer}.", f".layers.{i}."): w.clone()
            for i in range(copies)
            for n, w in inside.items()
        }
        save_file(outside | copied, folder / "model.safetensors", {"format": "pt"})
        inside = {
            n: w + 0.005 * w.std() * torch.randn(w.shape, generator=draw) if w.ndim == 2 else w
            for n, w in inside.items()
        }


def released(folders: list[Path], share: float) -> float:
    """Seconds of the released procedure at one share: SVDs in float32, splice and product."""
    from healscope.models.stored import Stored

    old, new = map(Stored, folders)
    begin = time.process_time()
    for name in (n for n in old if old[n].ndim == 2):
        (u, s, v), (u0, _, v0) = (
            torch.linalg.svd(w[name], full_matrices=False) for w in (old, new)
        )
        k = round(share * len(s))
        u, v = torch.cat([u0[:, :k], u[:, k:]], 1), torch.cat([v0[:k], v[k:]], 0)
        u @ torch.diag(s) @ v
    return time.process_time() - begin


def sweep(folders: list[Path], cache: Path, precision: str, edits: int, used: int):
    """Yield the sweep, once factors are there, and then after each of the first `used` edits."""
    from healscope.edit_names import along
    from healscope.models.stored import Stored
    from healscope.models.variants import load_each
    from healscope.spectra import factors
    from healscope.spectra.sweep import Pair, Sweep

    class Skeleton:
        tensors = {n: w.clone() for n, w in Stored(folders[0]).items()}

        def state_dict(self):
            return self.tensors

    found = [factors.load(f, ROLES, cache, precision=precision) for f in folders]
    for i, one in enumerate(found):
        factors.write(cache / f"{i}.json", one, {})
    made = Sweep(Pair(*map(Stored, folders), *found))
    made.with_angles = set()  # the released procedure measures none
    yield made
    names = [along("directions", "rank", (i + 1) / edits) for i in range(used)]
    for _ in load_each(Skeleton(), made.variants(names), Stored(folders[0])):
        yield made


def memory(field: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) / 2**10


def peak(folder: Path, edits: int) -> None:
    import healscope.spectra.sweep  # noqa: F401 (imports are no part of what is told)

    before, folders = memory("VmRSS"), [folder / "target", folder / "parent"]
    *_, made = sweep(folders, folder / "cache", "float32", 10, edits)
    size = (folders[0] / "model.safetensors").stat().st_size / 2**20
    held = sum(update.nbytes for _, update in made.latest.values()) / 2**20
    above = memory("VmHWM") - before
    print(
        f"{edits} edits of all layers: peak {above:.0f} MiB above {before:.0f} of imports, "
        f"{above / size:.2f} times the model of {size:.0f} MiB; updates held: {held:.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("layer", type=int, nargs="?", default=0)
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("--precision", nargs="+", default=["float32", "float64"])
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--make", type=Path)
    parser.add_argument("--peak", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak:
        peak(args.folder, args.memory)
        return
    if args.make:
        layers = json.loads((args.folder / "config.json").read_text())["num_hidden_layers"]
        make(args.folder, args.layer, [args.make / "target", args.make / "parent"], layers)
        return
    from healscope.models.stored import Stored

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = [folder / "target", folder / "parent"]
        make(args.folder, args.layer, folders, 1)
        base = args.edits * released(folders, 0.5)
        print(f"released, {args.edits} edits of layer {args.layer}: {base:.2f} s", flush=True)
        for precision in args.precision:
            begin, times = time.process_time(), []
            for _ in sweep(folders, folder / precision, precision, args.edits, args.edits):
                times.append(time.process_time() - begin)
            cached = times[-1] - times[0]
            disk = sum(f.stat().st_size for f in (folder / precision).glob("*.safetensors"))
            size = sum(4 * w.numel() for w in Stored(folders[0]).values() if w.ndim == 2)
            print(
                f"{precision}: SVDs {times[0]:.2f} s, edits {cached:.2f} s (a further one "
                f"{(times[-1] - times[1]) / (args.edits - 1):.2f} s); {base / times[-1]:.1f} times "
                f"as fast, with factors at hand {base / cached:.1f} times; factors on disk "
                f"{disk / 2 / size:.2f} times the float32 matrices",
                flush=True,
            )
        if args.memory:
            rest = [str(args.folder), str(args.layer), "--make", str(folder / "all")]
            subprocess.run([sys.executable, __file__, *rest], check=True)
            rest = [str(folder / "all"), "--peak", "--memory", str(args.memory)]
            subprocess.run([sys.executable, __file__, *rest], check=True)


if __name__ == "__main__":
    main()
