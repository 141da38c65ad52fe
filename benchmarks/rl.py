"""Throughput of RL from one start: batched against prompt by prompt, and PPO against TRL's GRPO.

    python benchmarks/rl.py RESULTS [--iterations 6]

RESULTS is the `results` folder of a finished tiny study. All ways sample and train on the same
number of responses to the same prompts, in one process and one thread, taking turns; read ratios.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from healscope import artifacts, config, provenance
from healscope.job import prepare_torch
from healscope.models import checkpoints
from healscope.tasks import build
from healscope.tasks.tables import draw, sft_examples
from healscope.training import groups, optimization, ppo, trainers
from healscope.training.branch import Branch
from healscope.training.sampling import Sampler
from healscope.training.state import Workspace
from healscope.training.turns import Turn

ROOT = Path(__file__).parents[1]
START = 59


@dataclass(frozen=True)
class OneByOne(Sampler):
    """The plain loop: transformers' `generate`, one prompt at a time."""

    def sample(self, model, tokenizer, problems, stream) -> list[Turn]:
        torch.manual_seed(stream[-1])
        model.eval()
        turns = []
        for row in problems.to_dict("records"):
            problem = self.task.read(row)
            ids = tokenizer(tokenizer.bos_token + " " + row["prompt"], return_tensors="pt",
                            add_special_tokens=False)  # fmt: skip
            with torch.no_grad():
                out = model.generate(
                    **ids, max_new_tokens=self.max_new_tokens, do_sample=True, top_k=0,
                    output_logits=True, output_hidden_states=True, return_dict_in_generate=True,
                )  # fmt: skip
            before = ids["input_ids"].shape[1]
            response = out.sequences[0, before:]
            logps = torch.log_softmax(torch.cat(out.logits), -1).gather(1, response[:, None])[:, 0]
            text = tokenizer.decode(response, skip_special_tokens=True)
            read_LH = out.hidden_states[0][-1][0]
            verdict, reward = self.score(problem, text)
            turns.append(
                Turn(problem, len(turns), 1, ids["input_ids"][0].tolist(), response.tolist(),
                     logps.tolist(), text, verdict, reward, True,
                     state_2H=torch.stack([read_LH.mean(0), read_LH[-1]]))
            )  # fmt: skip
        return turns


@dataclass(frozen=True)
class Slow(Branch):
    def sampler(self, recipe, **more):
        return OneByOne(**vars(super().sampler(recipe, **more)))


def seconds(train, recipe, branch) -> float:
    """Per iteration, start-up left out."""
    with tempfile.TemporaryDirectory() as folder:
        rows = train(recipe, replace(branch, work=Workspace(Path(folder) / "w", "x")))
    times = [row["sampling_seconds"] + row["training_seconds"] for row in rows[1:]]
    return statistics.median(times)


class Clock(TrainerCallback):
    def __init__(self):
        self.ticks = [time.perf_counter()]

    def on_step_end(self, *_, **__):
        self.ticks.append(time.perf_counter())


def stock(recipe, branch) -> float:
    """GRPOTrainer as TRL has it: its own tokenisation, generation and sampling."""
    model, tokenizer = checkpoints.load_model(branch.start)
    trained = checkpoints.freeze(model, recipe.freeze)
    rows = pd.concat(
        draw(branch.prompts, recipe.prompts, np.random.default_rng([0, 4, i]))
        for i in range(recipe.iterations)
    )
    posed = [branch.task.read(row) for row in rows.to_dict("records")]
    score, clock = branch.sampler(recipe).score, Clock()

    def reward(completions, number, **_):
        return [score(posed[n], c).reward for n, c in zip(number, completions, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        work = Workspace(Path(folder) / "w", "x")
        args = GRPOConfig(
            **trainers.arguments(recipe, replace(branch, work=work)), max_steps=recipe.iterations,
            per_device_train_batch_size=128, gradient_accumulation_steps=recipe.responses // 128,
            num_generations=recipe.samples_per_prompt, loss_type="grpo", shuffle_dataset=False,
            max_completion_length=branch.max_new_tokens, temperature=recipe.temperature, beta=0.0,
        )  # fmt: skip
        prompts = [f"{tokenizer.bos_token} {p}" for p in rows["prompt"]]
        trainers.fit(
            GRPOTrainer(
                model=model, args=args, reward_funcs=reward, processing_class=tokenizer,
                train_dataset=Dataset.from_dict({"prompt": prompts, "number": range(len(posed))}),
                callbacks=[clock],
                optimizers=trainers.scheduled(
                    recipe, optimization.adamw(recipe, trained), lambda step: step
                ),
            )
        )  # fmt: skip
    return statistics.median(np.diff(clock.ticks)[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    prepare_torch(1)
    study = config.load(yaml.safe_load((ROOT / "config/config.yaml").read_text()))

    def manifest(name: str) -> str:
        path = artifacts.path(artifacts.CHECKPOINT, track="tiny", seed=0, checkpoint=name)
        return str(args.results.parent / path)

    pools = [provenance.read_table(args.results / f"tasks/gp3/{p}.parquet") for p in ("rl", "sft")]
    shown = study.sft.deals, study.sft.examples
    branch = Branch(
        name="benchmark", start=manifest(artifacts.sft(START)), base=manifest("base"),
        prompts=pools[0], sft_pool=pools[1], sft_rows=sft_examples(pools[1], *shown, seed=0),
        task=build("train", study.tasks["gp3"]), max_new_tokens=study.evaluation.max_new_tokens,
        seed=0, work=None, label="benchmark",
    )  # fmt: skip
    short = {"iterations": args.iterations, "kl_every": None}
    own = study.rl.recipes["ppo"].model_copy(update=short)
    group = study.rl.recipes["grpo"].model_copy(update=short)
    grouped = own.model_copy(update={"samples_per_prompt": group.samples_per_prompt})
    ways = {
        "PPO, batched": lambda: seconds(ppo.train, own, branch),
        "PPO, prompt by prompt": lambda: seconds(
            ppo.train, own.model_copy(update={"iterations": 2}), Slow(**vars(branch))
        ),
        "PPO, batched, groups of 4": lambda: seconds(ppo.train, grouped, branch),
        "GRPO by TRL, our sampling": lambda: seconds(groups.train, group, branch),
        "GRPO by TRL, its own generation": lambda: stock(group, branch),
    }
    found = {name: [] for name in ways}
    for _ in range(args.rounds):
        for name, run in ways.items():
            began = time.perf_counter()
            found[name].append(run())
            print(
                f"{name}: {found[name][-1]:.2f} s ({time.perf_counter() - began:.0f} s)", flush=True
            )
    medians = {name: statistics.median(times) for name, times in found.items()}
    print(f"\n{own.responses} responses an iteration, medians of {args.rounds} rounds")
    for name, value in medians.items():
        print(f"{name:34} {value:6.2f} s an iteration")
    one, batched = medians["PPO, prompt by prompt"], medians["PPO, batched"]
    print(f"batched against prompt by prompt: {one / batched:.1f} times the throughput")
    same = medians["PPO, batched, groups of 4"]
    for name in list(ways)[3:]:
        print(
            f"PPO's time by that of {name}: {batched / medians[name]:.2f}; on as many prompts: "
            f"{same / medians[name]:.2f}"
        )


if __name__ == "__main__":
    main()
