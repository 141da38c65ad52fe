"""Engine `vllm`: the client of a process that runs in vLLM's own environment.

Checkpoints are read by that process where they lie. Other weights (edits, a policy that is being
trained) go through files without a name, in /dev/shm where they fit, which are gone as soon as both
processes have let go of them, however they end.
"""

import json
import math
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save

from healscope import artifacts, provenance
from healscope.config import Vllm
from healscope.engines.generate import NotFinite, Responses
from healscope.engines.options import Pair
from healscope.errors import HealscopeError
from healscope.models import checkpoints, integrity
from healscope.models.stored import Stored, of_words, write
from healscope.models.variants import Variant, Weights, check_weight

WORKER = Path(__file__).parent / "worker" / "vllm_worker.py"
SHARD_BYTES = 2**29  # of weights that are held until they are written
_MEMORY = Path("/dev/shm")
_NOT_PASSED_ON = {  # of the environment; the rest of these name a training run's own processes
    "PYTHONPATH", "OMP_NUM_THREADS", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE",
    "GROUP_RANK", "ROLE_RANK", "MASTER_ADDR", "MASTER_PORT",
}  # fmt: skip


@dataclass(frozen=True)
class Process:
    """Settings of vLLM's process. Its log lies beside `log`, that of its job.

    `gpu`: the only one that it sees, by its name in CUDA_VISIBLE_DEVICES; None: those that its
    parent sees.
    """

    settings: Vllm
    log: str
    gpu: str | None = None

    @classmethod
    def of(cls, snakemake) -> "Process | None":
        """Return the process for a job of the workflow; None if its rule does not name vllm."""
        if not snakemake.params.get("vllm"):
            return None
        return cls(Vllm.model_validate(snakemake.config.get("vllm") or {}), snakemake.log[0])

    def plain(self) -> dict:
        """Return the settings as JSON has them, the inverse of `Process.read`."""
        return {"settings": self.settings.model_dump(mode="json"), "log": self.log}

    @classmethod
    def read(cls, plain: dict, rank: int = 0, gpu: str | None = None) -> "Process":
        """Return the settings for process `rank` of a training run, each of which has its own
        engine."""
        log = plain["log"] if rank == 0 else f"{plain['log'].removesuffix('.log')}-{rank}.log"
        return cls(Vllm.model_validate(plain["settings"]), log, gpu)


class VLLM:
    """vLLM with the weights of a checkpoint folder; a context manager that starts and ends the
    process.

    It works on `rows` answers at a time, and takes `memory_share` of each GPU. Everything raises
    HealscopeError, with the log of the process, where that fails, dies or hangs.
    """

    batches = False

    def __init__(self, folder: str | Path, process: Process, rows: int, memory_share: float):
        settings = process.settings
        self.process, self.settings = process, settings
        self.log = artifacts.engine_log(process.log)
        self.start = Stored(Path(folder).resolve())
        self.dtype = getattr(torch, settings.dtype)
        self.paths = _paths(self.start)  # what weights are reset to
        self.asked = {
            "model": str(self.start.folder),
            "dtype": settings.dtype,
            "max_model_len": settings.max_model_len,
            "rows": rows,
            "memory_share": memory_share,
            "tensor_parallel": settings.tensor_parallel,
        }

    def __enter__(self) -> "VLLM":
        python = shutil.which(self.settings.python)
        if python is None:
            raise HealscopeError(
                f"engine vllm needs an environment of its own and {self.settings.python} is not "
                "there: run `make vllm`, or name its interpreter in vllm.python"
            )
        environment = {
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # else it takes all cores of the machine
            "VLLM_CPU_KVCACHE_SPACE": str(self.settings.cpu_cache_gb),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process less to lose
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            **{k: v for k, v in os.environ.items() if k not in _NOT_PASSED_ON},
        }
        self.leftovers = tempfile.TemporaryDirectory(prefix="healscope-vllm-")  # of vLLM itself
        environment["TMPDIR"] = self.leftovers.name
        if not self.start.as_it_lies:  # merged, or under other names: vLLM reads files alone
            whole = Path(self.leftovers.name) / "model"
            whole.mkdir()
            write(self.start, {}, whole)
            self.asked["model"], self.paths = str(whole), _paths(Stored(whole))
        if self.process.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self.process.gpu
        Path(self.log).parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                [python, str(WORKER), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.facts = {"name": "vllm", **self._ask(self.asked)}
            self._check_answers(self.start.folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        with ExitStack() as last:
            last.callback(self.leftovers.cleanup)
            last.callback(self.child.wait)
            last.callback(self.child.kill)
            with suppress(OSError):  # it is dead already
                self.child.stdin.close()
            with suppress(subprocess.TimeoutExpired):  # it hangs
                self.child.wait(10)

    @property
    def ends(self) -> list[int | list[int] | None]:
        files = [self.start.folder / name for name in ("generation_config.json", "config.json")]
        return [provenance.read_json(f).get("eos_token_id") for f in files if f.is_file()]

    @property
    def context(self) -> int:
        return self.facts["max_model_len"]

    def each(self, variants: Iterable[Variant]) -> Iterator[Variant]:
        """Load the weights of each variant in turn, and yield the variant.

        A checkpoint is asked for the logits that it was saved with.
        """
        for variant in variants:
            if variant.manifest:
                checkpoints.verify(variant.manifest)
                stored = Stored(Path(variant.manifest).parent.resolve())
                for name, shape in stored.shapes.items():
                    check_weight(variant.name, name, shape, self.start.shapes)
                missing = [n for n in self.start if n not in stored]
                integrity.refuse_other_keys(variant.name, missing=missing)
                if stored.as_it_lies:
                    self._ask({"load": [_paths(stored)]})
                else:
                    self.take(stored.items(), variant.name)
                self._check_answers(stored.folder)
            else:
                self.take(variant.weights(), variant.name)
            yield variant

    def take(self, weights: Weights, name: str) -> None:
        """Load other weights in place; tensors that are left out are reset to those of the start.

        `name` is of what they belong to. They are read to their end before any of them counts.
        Embeddings that are tied to the output layer are sent under both names: vLLM reads one.
        """
        with ExitStack() as held:
            files = [held.enter_context(f) for f in self._written(self._both(weights), name)]
            paths = [f"/proc/{os.getpid()}/fd/{f.fileno()}" for f in files]
            self._ask({"load": [paths, self.paths]})

    def _both(self, weights: Weights) -> Weights:
        for name, tensor in weights:
            yield name, tensor
            if of_words(name) and (other := self.start.tied.get(name)):
                yield other, tensor

    def generate(
        self,
        prompts: list[list[int]],
        *,
        eos: int | Sequence[int],
        pad: int,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Responses:
        """Generate like `healscope.engines.generate.generate`, but with a random stream for each
        answer, so that draws do not depend on which answers share a batch."""
        rows = [ids for ids in prompts for _ in range(samples)]
        seeds = None
        if temperature > 0:
            seeds = torch.randint(2**31 - 1, (len(rows),), generator=generator).tolist()
        ask = {
            "prompts": rows,
            "seeds": seeds,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "eos": [eos] if isinstance(eos, int) else list(eos),
        }
        found = self._ask({"generate": ask})
        if not all(math.isfinite(x) for row in found["logprobs"] for x in row):
            raise NotFinite("the model's probabilities are not finite")
        width = max(map(len, found["tokens"]))

        def padded(rows: list[list], fill) -> torch.Tensor:
            return torch.tensor([row + [fill] * (width - len(row)) for row in rows])

        return Responses(
            padded(found["tokens"], pad),
            padded(found["logprobs"], 0.0),
            padded([[True] * len(row) for row in found["tokens"]], False),
        )

    def scores(self, pairs: list[Pair], **_) -> list[tuple[float, bool]]:
        """As `healscope.engines.options.scores`; all at once."""
        asked = {
            i: [[*prompt, *text], len(prompt)] for i, (prompt, text) in enumerate(pairs) if text
        }
        found = self._ask({"score": list(asked.values())})["scores"] if asked else []
        if not all(math.isfinite(total) for total, _ in found):
            raise NotFinite("the model's probabilities are not finite")
        known = dict(zip(asked, found, strict=True))
        return [tuple(known.get(i, (0.0, True))) for i in range(len(pairs))]

    def _check_answers(self, folder: Path) -> None:
        """Check that the engine gives the logits that the checkpoint was saved with."""

        def logprobs(ids: list[int]) -> list[float]:
            return self._ask({"next": ids})["logprobs"]

        integrity.check_answers(folder, logprobs, self.settings.dtype)

    def _written(self, weights: Weights, name: str) -> Iterator:
        """Yield open files that hold the weights in shards, in the engine's precision."""
        size = sum(map(math.prod, self.start.shapes.values())) * self.dtype.itemsize
        place = _MEMORY
        if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < 1.2 * size:
            place = Path(artifacts.ENGINE_WEIGHTS)
            place.mkdir(parents=True, exist_ok=True)
        shard: dict[str, torch.Tensor] = {}
        held = 0
        for tensor_name, tensor in weights:
            check_weight(name, tensor_name, tensor.shape, self.start.shapes)
            shard[tensor_name] = tensor.detach().to("cpu", self.dtype, copy=True).contiguous()
            held += shard[tensor_name].nbytes
            if held >= SHARD_BYTES:
                yield _file(shard, place)
                shard, held = {}, 0
        if shard:
            yield _file(shard, place)

    def _ask(self, message: dict) -> dict:
        with suppress(OSError):  # it is dead: what it said last is still to be read
            self.child.stdin.write(json.dumps(message) + "\n")
            self.child.stdin.flush()
        while True:
            try:
                line = self.lines.get(timeout=60 * self.settings.patience_minutes)
            except queue.Empty:
                self.child.kill()
                raise HealscopeError(
                    f"engine vllm has said nothing for {self.settings.patience_minutes} minutes "
                    f"and was stopped; read {self.log}, or raise vllm.patience_minutes"
                ) from None
            if line is None:
                raise HealscopeError(
                    f"the process of engine vllm died ({_end(self.child.wait())}); its last words "
                    f"are in {self.log}"
                )
            reply = json.loads(line)
            if "error" in reply:
                raise HealscopeError(f"engine vllm: {reply['error']} (its log: {self.log})")
            if "alive" not in reply:
                return reply

    def _read(self) -> None:
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put(None)


def _paths(stored: Stored) -> list[str]:
    return list(dict.fromkeys(map(str, stored.files.values())))


def _file(shard: dict[str, torch.Tensor], place: Path):
    file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 (the caller closes it)
    file.write(save(shard))
    file.flush()
    return file


def _end(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
