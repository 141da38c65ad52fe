"""The process of engine `vllm`: weights in, token ids and log-probabilities out.

It runs in vLLM's own environment, by its path: nothing of healscope is installed there. What it is
told and answers are lines of JSON, and weights are safetensors files: no pickle between the two,
and nothing that a model writes is run. One question, one answer, but for {"alive": n} in between:

    {model, dtype, rows, ...}                  -> {vllm, torch, device, ...}  once, at the start
    {"load": [files, files]}                   -> {}    a tensor's first file in this order counts
    {"generate": {prompts, seeds, ...}}        -> {tokens, logprobs}  lists, row by row
    {"next": ids}                              -> {logprobs}  of every next token
    {"score": [[ids, start], ...]}             -> {scores}  [sum from start on, all likeliest]
    anything that fails                        -> {"error": sentence}

It ends when its input does, or with the process that started it, however that ends.
"""

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback

PR_SET_PDEATHSIG = 1  # of prctl(2)


class Refused(Exception):  # noqa: N818 (what happened)
    """Something that the user can change; the text says what."""


class Loading:
    """What vLLM's workers can do besides: called by name, in every one of them."""

    def load_files(self, groups: list[list[str]]) -> None:
        """New weights in place. A name that several groups hold is read from the first of them."""
        from safetensors import safe_open
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        def weights():
            known = set()
            for group in groups:
                found = []
                for file in group:
                    with safe_open(file, "pt") as opened:
                        for name in opened.keys():  # noqa: SIM118 (not a mapping)
                            if name not in known:
                                found.append(name)
                                yield name, opened.get_tensor(name)
                known.update(found)

        self.model_runner.reload_weights(weights_iterator=weights())
        # a head tied to the embeddings has got their new values but not, on CPUs, the packed copy
        # that its product is computed from
        for module in self.model_runner.get_model().modules():
            if isinstance(module, ParallelLMHead):
                module.quant_method.process_weights_after_loading(module)


def start(settings: dict):
    """(vLLM's engine with the weights of `settings["model"]`, what is to be known of it)."""
    try:
        import torch
        import vllm
        from vllm.platforms import current_platform
    except ImportError as error:
        raise Refused(
            f"{sys.executable} has no working vLLM ({error}); run `make vllm`, or name another "
            "interpreter in vllm.python"
        ) from error
    cpu = current_platform.is_cpu()
    if cpu:
        _check_head(settings["model"])
    engine = vllm.LLM(
        model=settings["model"],
        dtype=settings["dtype"],
        max_model_len=settings["max_model_len"],
        max_num_seqs=settings["rows"],
        gpu_memory_utilization=settings["memory_share"],
        tensor_parallel_size=settings["tensor_parallel"],
        skip_tokenizer_init=True,  # only token ids come and go
        generation_config="vllm",  # no temperature of the model's own
        enforce_eager=cpu,
        logprobs_mode="processed_logprobs",  # of the distribution that is sampled from
        max_logprobs=-1,
        worker_extension_cls="vllm_worker.Loading",
        disable_log_stats=True,
        seed=0,
    )
    return engine, {
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "device": "cpu" if cpu else torch.cuda.get_device_name(0),
        "dtype": settings["dtype"],
        "tensor_parallel": settings["tensor_parallel"],
        "max_num_seqs": settings["rows"],
        "max_model_len": engine.llm_engine.model_config.max_model_len,
        "batch_invariant": os.environ.get("VLLM_BATCH_INVARIANT", "0") == "1",
    }


def _check_head(folder: str) -> None:
    """vLLM itself would only fail at the first answer."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config = config.get("text_config") or config
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    known = CPUAttentionBackend.get_supported_head_sizes()
    if size not in known:
        raise Refused(
            f"the model's attention heads have size {size}, and on a CPU vLLM knows only "
            f"{', '.join(map(str, known))}; use engine hf (evaluation.engine, rl.engine)"
        )


def answer(engine, message: dict, tell) -> dict:
    """Return the reply to one message."""
    if "load" in message:
        engine.collective_rpc("load_files", args=(message["load"],))
        if not engine.reset_prefix_cache():  # what it holds was computed with the old weights
            raise RuntimeError("vLLM's prefix cache could not be emptied")
        return {}
    if "next" in message:
        ask = {"max_new_tokens": 1, "temperature": 0.0, "top_p": 1.0, "eos": []}
        (row,) = _generated(engine, [message["next"]], ask, None, -1, False)
        return {"logprobs": [row.logprobs[0][i].logprob for i in range(len(row.logprobs[0]))]}
    if "score" in message:
        return {"scores": _scores(engine, message["score"], _alive(tell))}
    ask = message["generate"]
    rows = _generated(engine, ask["prompts"], ask, ask["seeds"], 0, _alive(tell))
    return {
        "tokens": [list(row.token_ids) for row in rows],
        "logprobs": [
            [known[t].logprob for t, known in zip(row.token_ids, row.logprobs, strict=True)]
            for row in rows
        ],
    }


def _generated(engine, prompts, ask: dict, seeds, logprobs: int, progress) -> list:
    """Completions, one for each prompt; each has its own stream of random numbers."""
    from vllm import SamplingParams

    settings = [
        SamplingParams(
            max_tokens=ask["max_new_tokens"],
            temperature=ask["temperature"],
            top_p=ask["top_p"],
            seed=seeds[i] if seeds else None,
            logprobs=logprobs,
            stop_token_ids=[i for i in ask["eos"] if i >= 0],
            ignore_eos=True,  # what ends an answer is said here, not in the model's config
            detokenize=False,
        )
        for i in range(len(prompts))
    ]
    asked = [{"prompt_token_ids": ids} for ids in prompts]
    return [o.outputs[0] for o in engine.generate(asked, settings, use_tqdm=progress)]


def _scores(engine, asked, progress) -> list:
    """Log-probabilities of given texts: of prompts, after each of which one token is written."""
    from vllm import SamplingParams

    settings = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
    prompts = [{"prompt_token_ids": ids} for ids, _ in asked]
    rows = engine.generate(prompts, settings, use_tqdm=progress)
    found = []
    for (ids, start), row in zip(asked, rows, strict=True):
        known = [row.prompt_logprobs[i][ids[i]] for i in range(start, len(ids))]
        found.append([sum(k.logprob for k in known), all(k.rank == 1 for k in known)])
    return found


def _alive(tell):
    """A progress bar, as vLLM takes one, that shows nothing and tells how far it is."""
    from tqdm import tqdm

    class Alive(tqdm):
        told = time.monotonic()

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115

        def update(self, n=1):
            super().update(n)
            if time.monotonic() - self.told > 5:
                self.told = time.monotonic()
                tell({"alive": self.n})

    return Alive


def _die_with(parent: int) -> None:
    """End this process when the one that started it does, also where that is killed."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _commands() -> queue.Queue:
    """Return lines of standard input as they come; at their end the process ends, whatever it
    does."""
    lines, source = queue.Queue(), os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def read() -> None:
        for line in source:
            lines.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def main() -> None:
    _die_with(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # they are for the job, which may still need answers
    channel = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print goes to the log
    commands = _commands()

    def tell(message: dict) -> None:
        channel.write(json.dumps(message) + "\n")

    try:
        engine, facts = start(commands.get())
        tell(facts)
        while True:
            tell(answer(engine, commands.get(), tell))
    except Refused as error:
        tell({"error": str(error)})
    except BaseException as error:
        traceback.print_exc()
        last = (str(error).strip() or "no message").splitlines()[-1]
        tell({"error": f"{type(error).__name__}: {last}"})
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
