"""Constants of the cost model, each with its unit and source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    value: float
    unit: str
    source: str


H100_PEAK = Constant(989e12, "FLOP/s", "NVIDIA H100 SXM data sheet, dense bfloat16")
A100_PEAK = Constant(312e12, "FLOP/s", "NVIDIA A100 data sheet, dense bfloat16")
H100_PEAK_FLOAT64 = Constant(67e12, "FLOP/s", "NVIDIA H100 SXM data sheet, float64 tensor core")

PUBLISHED_STEP = Constant(
    9.05,
    "s",
    "measured: a step of SFT in the released log of arXiv 2509.12235: LLaMA-3.2-11B, batch 64, "
    "four A100-80GB, ZeRO-3 with offload",
)
PUBLISHED_BATCH = Constant(64, "sequences", "the same log")
PUBLISHED_GPUS = Constant(4, "GPUs", "the same log")

FORWARD = Constant(2, "FLOP a parameter and token", "arXiv 2001.08361, section 2.1")
TRAIN = Constant(6, "FLOP a parameter and token", "arXiv 2001.08361: forward and backward")
RECOMPUTED = Constant(8, "FLOP a parameter and token", "the same with activations computed twice")

TOKEN = Constant(3, "characters", "assumed for JSON and digits; English prose has about 4")

VLLM_TOKENS = Constant(
    12500, "tokens/s", "cited: 8e9 parameters, bfloat16, one H100, vLLM (morphllm.com aggregation)"
)
VLLM_PARAMETERS = Constant(8e9, "parameters", "the model of that number, Llama-3.1-8B")
HF_SLOWER = Constant(
    7, "times", "cited: trl issue 1900, 3.5 minutes by generate against under 30 s by vLLM"
)

CPU_TRAIN = Constant(
    5e10, "FLOP/s a thread", "measured: base model of the default study, docs/benchmarks.md"
)
CPU_GENERATE = Constant(
    3e10, "FLOP/s a thread", "measured: 512 answers of the tiny world in 0.24 s, docs/benchmarks.md"
)
CPU_SVD = Constant(
    2e10, "FLOP/s a thread", "measured: Gram route at 2048 x 2048 in float64, docs/benchmarks.md"
)
GPU_SVD_SHARE = Constant(
    0.01, "of the float64 peak", "assumed, not measured: 5 minutes a checkpoint of 7e9 parameters"
)

DISK = Constant(1e9, "bytes/s", "assumed: a parallel file system, one reader")
HASHING = Constant(1.5e9, "bytes/s", "assumed: sha256 of one thread with SHA extensions")
NETWORK = Constant(1e8, "bytes/s", "assumed: download from the hub")
START = Constant(6, "s", "measured: a process that imports torch and transformers; 2 without")
START_PLAIN = Constant(2, "s", "measured: a table or figure takes 3 s in the default study")

SMALL_TRAIN = Constant(
    1.5e13, "FLOP/s", "assumed: a model from scratch on one H100, in float32, a fifth of its peak"
)
LAUNCH = Constant(
    5e-4, "s a layer", "assumed: starting the kernels of a layer, however little it computes"
)

MASTER = Constant(4, "bytes a parameter", "float32 weights")
MOMENTS = Constant(8, "bytes a parameter", "float32: both moments of AdamW")
FACTOR = Constant(8, "bytes an entry", "float64 singular values and vectors")
ANSWER = Constant(120, "bytes an answer", "measured: 3,856 rows of the micro study, Parquet")
WRONG = Constant(1, "share of first answers", "upper bound: every answer is wrong and retried")
