"""The two routes of `spectra.decompose` against each other: time and accuracy.

    python benchmarks/svd.py [--sizes 128x128 512x2048 ...] [--repeats 3] [--device cpu]
    python benchmarks/svd.py --model qwen2.5-7b --device cuda

Matrices are Gaussian with a few strong directions, rounded to bf16, as weights are. Both routes
take turns in one process and one thread; each time includes the certificate, and the best of the
repeats counts. `d sigma` is the largest difference from LAPACK's singular values relative to the
first. Beside it stands what the released code does: a float32 SVD, without any check.

With --model all matrices of a model of that shape are made and decomposed by the faster route.
"""

import argparse
import platform
import resource
import time
from collections.abc import Callable

import torch

from healscope.spectra.decompose import Certificate, Factors, decompose

SIZES = ("64x64", "128x128", "192x192", "256x128", "256x256", "384x384", "512x512", "1024x1024",
         "2048x2048", "512x2048", "2048x512", "1024x4096")  # fmt: skip
MODELS = {
    "qwen2.5-7b": (28, {"q": (3584, 3584), "k": (512, 3584), "v": (512, 3584), "o": (3584, 3584),
                        "gate": (18944, 3584), "up": (18944, 3584), "down": (3584, 18944)}),
    "qwen2.5-0.5b": (24, {"q": (896, 896), "k": (128, 896), "v": (128, 896), "o": (896, 896),
                          "gate": (4864, 896), "up": (4864, 896), "down": (896, 4864)}),
}  # fmt: skip


def weight(m: int, n: int, seed: int, device: str) -> torch.Tensor:
    """bf16; 24 directions stand out of the noise, the strongest by a factor of about 20."""
    g = torch.Generator(device).manual_seed(seed)
    draw = {"generator": g, "device": device, "dtype": torch.float32}
    strong = torch.logspace(0, 1.3, min(24, m, n), device=device) * max(m, n) ** 0.5
    u, v = (torch.randn(side, len(strong), **draw) / side**0.5 for side in (m, n))
    return (0.02 * (torch.randn(m, n, **draw) + (u * strong) @ v.T)).to(torch.bfloat16)


def timed(work: Callable, device: str) -> tuple[float, object]:
    """(seconds, result): wall time on a GPU; time of the CPU without one, where others work too."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start, result


def compare(m: int, n: int, repeats: int, device: str) -> None:
    w = weight(m, n, 0, device)
    ways: dict[str, Callable] = {
        "lapack": lambda: decompose(w, route="lapack"),
        "gram": lambda: decompose(w, route="gram"),
        "float32": lambda: torch.linalg.svd(w.float(), full_matrices=False),
    }
    best: dict[str, float] = {}
    made: dict[str, tuple[Factors, Certificate]] = {}
    for _ in range(repeats):
        for way, work in ways.items():
            seconds, made[way] = timed(work, device)
            best[way] = min(seconds, best.get(way, seconds))
    exact = torch.linalg.svdvals(w.double()).cpu()
    cells = [f"{m}x{n}".ljust(10), f"{best['lapack'] * 1e3:9.1f} ms"]
    cells += [f"{best['lapack'] / best[way]:5.2f}" for way in ("gram", "float32")]
    for way in ("lapack", "gram"):
        factors, c = made[way]
        off = float((factors.s - exact).abs().max() / exact[0])
        cells.append(f"{c.route:6} {c.residual:.0e} {max(c.left, c.right):.0e} {off:.0e}")
    single = float((made["float32"][1].cpu().double() - exact).abs().max() / exact[0])
    print("  ".join([*cells, f"{single:.0e}"]), flush=True)


def whole(name: str, device: str) -> None:
    layers, shapes = MODELS[name]
    start, worst, routes = time.perf_counter(), 0.0, set()
    seconds = dict.fromkeys(shapes, 0.0)
    for layer in range(layers):
        for role, (m, n) in shapes.items():
            w = weight(m, n, layer, device)
            took, (_, c) = timed(lambda w=w: decompose(w), device)
            seconds[role] += took
            worst = max(worst, *(x / c.tolerance for x in (c.residual, c.left, c.right)))
            routes.add(c.route)
        print(f"layer {layer + 1}/{layers}: {time.perf_counter() - start:.0f} s", flush=True)
    print(
        f"{name}: {layers * len(shapes)} matrices in {sum(seconds.values()):.0f} s by "
        f"{', '.join(sorted(routes))}; worst certificate {worst:.2f} of its tolerance"
    )
    print("seconds by role: " + ", ".join(f"{r} {s:.1f}" for r, s in seconds.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", choices=MODELS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    where = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    print(f"torch {torch.__version__}, {where}, python {platform.python_version()}, one thread")
    if args.model:
        whole(args.model, args.device)
    else:
        print("size           LAPACK    times faster     route, residual, orthogonality, d sigma")
        print("             float64    gram  float32     of lapack / of gram / d sigma of float32")
        for size in args.sizes:
            compare(*map(int, size.split("x")), args.repeats, args.device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.1f} GB")


if __name__ == "__main__":
    main()
