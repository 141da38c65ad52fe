"""A sweep of ten edits: ours against the released procedure, generation excluded.

    python benchmarks/sweep.py [tiny|large|alike]
    python benchmarks/sweep.py FOLDER [--layers 0 15 29] [--precision float32]

The released procedure (jinhangzhan/RL_Heals_SFT, analysis/svd_recover_dir.py), written anew from
its description: for every k, a float32 SVD of each matrix of both checkpoints, the leading k
directions spliced, the whole model saved, and loaded again as an evaluation does. Ours:
`spectra.sweep` with factors in float64 and in float32 (`spectra.precision`), computed in the same
run (cold), and those of an earlier one (cached). All edit the same matrices of the same weights at
the same ten shares of the rank.

Times are CPU seconds of one thread without imports. Each run has a process of its own, whose peak
memory is told less what it held before the sweep (imports). What a further point costs is from a
grid of twenty. `tiny`: a model of the tiny world's shape; `large`: a random Llama of 104 million
weights. FOLDER: a real model, the parent being this model and a little noise. With --layers, those
alone are decomposed and edited, by every procedure, and their time counts as if all were; loading
and saving are of the whole model and count once. The released procedure of all but `tiny` is timed
at one share and counted ten times.

`alike` measures memory alone: a model of the shape of SmolLM2-135M, whose layers are copies of one,
so that the SVDs of one layer are those of all, and what is held is what any such model takes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROLES = ["q", "k", "v", "o", "gate", "up", "down"]
PRECISIONS = {"float64": "ours", "float32": "single"}
SHAPES = {
    "tiny": {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
             "num_attention_heads": 4, "vocab_size": 47},
    "large": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 6,
              "num_attention_heads": 12, "vocab_size": 40_000, "tie_word_embeddings": False},
    "alike": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
              "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49_152,
              "tie_word_embeddings": True},
}  # fmt: skip


def make(shape: str, folder: Path) -> None:
    """A random model, in `target`, and another one half a percent away from it, in `parent`.

    `shape` may be the folder of a model instead: then `target` is a link to it.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if shape in SHAPES:
        model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape]))
        if shape == "alike":
            _copy_first_layer(model)
        model.save_pretrained(folder / "target")
    else:
        model = AutoModelForCausalLM.from_pretrained(shape, dtype=torch.float32)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "target").symlink_to(Path(shape).resolve())
    with torch.no_grad():
        for w in model.parameters():
            w.add_(0.005 * w.std() * torch.randn_like(w))
    if shape == "alike":
        _copy_first_layer(model)
    model.save_pretrained(folder / "parent")


def _copy_first_layer(model) -> None:
    for layer in model.model.layers[1:]:
        layer.load_state_dict(model.model.layers[0].state_dict())


class Clock:
    """CPU seconds of what grows with the number of matrices, and of what does not."""

    def __init__(self):
        self.seconds, self.since = {"matrices": 0.0, "model": 0.0}, time.process_time()

    def stop(self, part: str) -> None:
        now = time.process_time()
        self.seconds[part] += now - self.since
        self.since = now


def released(run: "Run", clock: Clock) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from healscope.spectra.matrices import matrices

    for share in run.shares:
        old, new = (load_file(folder / "model.safetensors") for folder in run.folders)
        clock.stop("model")
        for matrix in run.chosen(matrices({n: w.shape for n, w in old.items()}, ROLES)):
            (u, s, v), (u0, _, v0) = (
                torch.linalg.svd(w[matrix.name].float(), full_matrices=False) for w in (old, new)
            )
            k = max(1, round(share * len(s)))
            u = torch.cat([u0[:, :k], u[:, k:]], 1)
            v = torch.cat([v0[:k], v[k:]], 0)
            old[matrix.name] = u @ torch.diag(s) @ v
        clock.stop("matrices")
        model = AutoModelForCausalLM.from_pretrained(run.folders[0], dtype=torch.float32)
        model.load_state_dict(old, strict=False)
        model.save_pretrained(run.scratch)
        AutoModelForCausalLM.from_pretrained(run.scratch, dtype=torch.float32)
        clock.stop("model")


def ours(run: "Run", clock: Clock, precision: str = "float64") -> None:
    """The skeleton loaded, then every edit put into it; factors from `scratch` where they lie."""
    from transformers import AutoModelForCausalLM

    from healscope.edit_names import along
    from healscope.models.stored import Stored
    from healscope.models.variants import load_each
    from healscope.spectra.sweep import Pair, Sweep

    weights = [Stored(folder) for folder in run.folders]
    clock.stop("model")
    found = [_factors(run, folder, precision) for folder in run.folders]
    clock.stop("matrices")
    model = AutoModelForCausalLM.from_pretrained(run.folders[0], dtype=torch.float32)
    clock.stop("model")
    variants = Sweep(Pair(*weights, *found)).variants(
        [along("directions", "rank", share) for share in run.shares]
    )
    assert len(list(load_each(model, variants, weights[0]))) == len(run.shares)
    clock.stop("matrices")


def single(run: "Run", clock: Clock) -> None:
    ours(run, clock, "float32")


def nothing(run: "Run", clock: Clock) -> None:
    """What imports and an empty run take."""


def _factors(run: "Run", folder: Path, precision: str):
    from healscope.spectra import factors

    manifest = run.scratch / folder.name / "factors.json"
    if not manifest.exists():
        found = factors.load(folder, ROLES, run.scratch / "cache", precision=precision)
        found.listed = tuple(run.chosen(found.listed))
        factors.write(manifest, found, {})
    return factors.read(manifest)


@dataclass
class Run:
    """The last `used` shares of a grid of `points`, on the matrices of `layers` (none: of all)."""

    folders: list[Path]
    scratch: Path
    layers: list[int]
    points: int = 10
    used: int = 10

    @property
    def shares(self) -> list[float]:
        return [(i + 1) / self.points for i in range(self.points)][-self.used :]

    def chosen(self, matrices):
        return [m for m in matrices if not self.layers or m.layer in self.layers]


def one(procedure: str, settings: str) -> None:
    """Run one procedure; print its seconds and its memory, in the process and at its peak."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from healscope.spectra import factors, sweep  # noqa: F401

    torch.set_num_threads(1)
    given = json.loads(settings)
    given |= {"folders": list(map(Path, given["folders"])), "scratch": Path(given["scratch"])}
    run = Run(**given)
    warm = run.scratch / "warm"  # whatever transformers imports when it first saves and loads
    LlamaForCausalLM(LlamaConfig(**SHAPES["tiny"])).save_pretrained(warm)
    LlamaForCausalLM.from_pretrained(warm)
    clock = Clock()
    globals()[procedure](run, clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**clock.seconds, "peak": peak}))


def measured(procedure: str, run: Run) -> dict:
    given = {**vars(run), "folders": list(map(str, run.folders)), "scratch": str(run.scratch)}
    command = [sys.executable, __file__, "--one", procedure, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(
    name: str,
    folders: list[Path],
    scratch: Path,
    used: int,
    layers: list[int],
    precisions: list[str],
) -> None:
    """Print seconds, ratios and memory; `used`: shares at which the released one is timed."""
    from healscope.models.stored import Stored
    from healscope.spectra.sources import matrices_of

    stored = Stored(folders[0])
    size, everything = sum(stored[n].numel() for n in stored), matrices_of(stored, ROLES)
    entries = sum(stored[m.name].numel() for m in everything)
    counted = {m.layer for m in everything}
    more = len(counted) / len(layers or counted)
    empty = measured("nothing", Run(folders, scratch / "nothing", layers))["peak"]
    base = measured("released", Run(folders, scratch / "released", layers, 10, used))
    theirs = (base["matrices"] * more + base["model"]) * 10 / used
    print(
        f"{name}: {size / 1e6:.1f} million parameters, {entries / 1e6:.1f} of them in "
        f"{len(everything)} matrices, 10 points; layers timed: {layers or 'all'}"
    )

    def tell(label: str, seconds: float, peak: float) -> None:
        memory = peak - empty
        print(
            f"  {label:25s}{seconds:9.2f} s   ratio {theirs / seconds:6.1f}   "
            f"peak {memory / 2**20:6.0f} MiB, {memory / (4 * size):5.2f} times the model",
            flush=True,
        )

    tell("released", theirs, base["peak"])
    for precision in precisions:
        procedure, place, total = PRECISIONS[precision], scratch / precision, {}
        for label, points in ("computed", 10), ("cached", 10), ("further", 20):
            if label == "further" and layers:
                continue
            took = measured(procedure, Run(folders, place, layers, points, points))
            total[label] = took["matrices"] * more + took["model"]
            if label != "further":
                tell(f"{precision}, factors {label}", total[label], took["peak"])
        disk = more * sum(f.stat().st_size for f in (place / "cache").iterdir())
        print(f"  {precision}: factors on disk {disk / 2 / 4 / entries:.2f} times the matrices")
        if "further" in total:
            further = (total["further"] - total["cached"]) / 10
            ratio = theirs / 10 / further
            print(f"  {precision}: a further point {further * 1000:.1f} ms, ratio {ratio:.1f}")


def memory(folders: list[Path], scratch: Path, precisions: list[str], used: int) -> None:
    """Print the peak memory of a sweep of `used` edits, and of the same when its factors lie."""
    size = (folders[0] / "model.safetensors").stat().st_size
    empty = measured("nothing", Run(folders, scratch / "nothing", []))["peak"]
    print(f"alike: {size / 2**20:.0f} MiB, {used} edits, less the {empty / 2**20:.0f} of imports")
    for precision in precisions:
        for label in ("computed", "cached"):
            run = Run(folders, scratch / precision, [], 10, used)
            peak = measured(PRECISIONS[precision], run)["peak"] - empty
            print(
                f"  {precision}, factors {label}: {peak / 2**20:.0f} MiB, "
                f"{peak / size:.2f} times the model",
                flush=True,
            )


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--one"]:
        one(*arguments[1:])
        return
    if arguments[:1] == ["--make"]:
        make(arguments[1], Path(arguments[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "models", nargs="*", default=["tiny", "large"], help="or alike, or a folder"
    )
    parser.add_argument("--layers", nargs="+", type=int, default=[])
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for shape in args.models:
            # in a process of its own: children start with the peak of the one that starts them
            place = Path(folder) / Path(shape).name
            command = [sys.executable, __file__, "--make", shape, str(place)]
            subprocess.run(command, capture_output=True, check=True)
            folders, used = [place / "target", place / "parent"], 10 if shape == "tiny" else 1
            if shape == "alike":
                memory(folders, place, args.precision, 3)
                continue
            compare(Path(shape).name, folders, place, used, args.layers, args.precision)


if __name__ == "__main__":
    main(sys.argv[1:])
