"""Engine hf beside the engine of lm-evaluation-harness (`HFLM`), on the same model and prompts.

    python benchmarks/peer_engine.py MODEL [--rounds 3] [--batch 32] [--prompts 60] [--sets sums …]

MODEL is the folder of a chat model. Both engines share one model in float32 in one process and one
thread, and get the same token ids, batch size and limit of new tokens; both decode greedily and end
a row at the same token. They take turns, and the median of the rounds counts. Times are CPU
seconds, since other work may run beside. Sets of prompts, all in the model's chat template:

- sums: 200 of two-digit numbers;
- facts: the 265 questions of the keeper of this name;
- mixture: 120 prompts of 12 to 300 words, in random order.

With --prompts, so many of each set are asked, evenly spread. Behind the times it says how many
answers are the same to the letter.
"""

import argparse
import json
import math
import platform
import random
import statistics
import sys
import time
from importlib.metadata import version
from importlib.resources import files

import torch

LIMITS = {"sums": 32, "facts": 32, "mixture": 32}
"""Set -> new tokens of the longest answer."""

WORDS = [
    "boat",
    "waits",
    "in",
    "a",
    "green",
    "harbour",
    "until",
    "its",
    "old",
    "sails",
    "are",
    "dry",
]


def prompts(name: str) -> list[str]:
    draw = random.Random(0)
    if name == "sums":
        return [f"What is {draw.randint(10, 99)} + {draw.randint(10, 99)}?" for _ in range(200)]
    if name == "facts":
        lines = (files("healscope.tasks.data") / "shipped/facts.jsonl").read_text().splitlines()
        return [json.loads(line)["prompt"] for line in lines]
    return [
        "Say in one sentence what this is about: "
        + " ".join(draw.choices(WORDS, k=round(5 * 60 ** draw.random())))
        for _ in range(120)
    ]


def theirs(engine, tokenizer, texts: list[str], limit: int) -> list[str]:
    from lm_eval.api.instance import Instance

    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": t}], tokenize=False, add_generation_prompt=True
        )
        for t in texts
    ]
    how = {"until": [tokenizer.eos_token], "max_gen_toks": limit, "do_sample": False}
    asked = [Instance("generate_until", {}, (chat, dict(how)), i) for i, chat in enumerate(chats)]
    return engine.generate_until(asked, disable_tqdm=True)


def ours(engine, tokenizer, texts: list[str], limit: int, batch: int) -> list[str]:
    from healscope.config import Evaluation, Protocol
    from healscope.evaluation.attempts import Asker

    settings = Evaluation(batch_size=batch, max_new_tokens=limit)
    return Asker(engine, tokenizer, settings, Protocol(), "")([[t] for t in texts], "", 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--sets", nargs="+", default=list(LIMITS), choices=LIMITS)
    args = parser.parse_args()

    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    from healscope.engines import HF
    from healscope.models.tokens import load_tokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(args.model)
    peer = HFLM(pretrained=model, tokenizer=load_tokenizer(args.model), batch_size=args.batch)
    own = HF(model)
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers", "lm_eval"))
    print(f"{versions}, {platform.machine()}, one thread, batches of {args.batch}")
    for name in args.sets:
        texts, limit = prompts(name), LIMITS[name]
        texts = texts[:: math.ceil(len(texts) / args.prompts)]
        engines = {
            "lm-eval": lambda t=texts, n=limit: theirs(peer, tokenizer, t, n),
            "hf": lambda t=texts, n=limit: ours(own, tokenizer, t, n, args.batch),
        }
        seconds, answers = {e: [] for e in engines}, {}
        for _ in range(args.rounds):
            for engine, answer in engines.items():
                began = time.process_time()
                answers[engine] = answer()
                seconds[engine].append(time.process_time() - began)
        same = sum(
            a.strip() == b.strip() for a, b in zip(answers["lm-eval"], answers["hf"], strict=True)
        )
        rates = {e: len(texts) / statistics.median(s) for e, s in seconds.items()}
        print(
            f"{name:8s} {len(texts)} prompts, at most {limit} tokens: "
            f"lm-eval {rates['lm-eval']:.2f}, hf {rates['hf']:.2f} answers a second, "
            f"ratio {rates['hf'] / rates['lm-eval']:.2f}; {same} of {len(texts)} answers the same",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
