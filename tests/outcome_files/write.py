"""Write the files of outcomes that tests read, with the tools themselves.

    python tests/outcome_files/write.py lm-eval tests/outcome_files/lm-eval    # needs lm_eval
    python tests/outcome_files/write.py inspect tests/outcome_files/inspect    # needs inspect_ai

Two models, `base` and `tuned`, answer the same 12 sums and (lm-eval) 12 multiple choices; what they
say is fixed below. Written with lm_eval 0.4.13 and inspect_ai 0.3.285.
"""

import json
import shutil
import sys
from pathlib import Path

N = 12
WRONG = {"base": {1, 5, 9}, "tuned": {0, 1, 2, 5}}
UNREAD = {"base": set(), "tuned": {0, 2}}
"""Items that a model gets wrong, and those of them in which no number stands."""


def said(model: str, item: int) -> str:
    if item in UNREAD[model]:
        return " I would rather not say"
    return f" {2 * item + (item in WRONG[model])}"


def lm_eval(out: Path) -> None:
    import yaml
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    class Fixed(LM):
        def __init__(self, name: str):
            super().__init__()
            self.name = name

        def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
            return [said(self.name, one.doc["n"]) for one in requests]

        def loglikelihood(self, requests, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            found = []
            for one in requests:
                n = one.doc["n"]
                taken = (one.doc["right"] + (n in WRONG[self.name])) % 3
                best = one.args[1] == " " + one.doc["choices"][taken]
                found.append((-1.0 if best else -3.0 - n / 10, best))
            return found

        def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
            raise NotImplementedError

    work = out / "work"
    work.mkdir(parents=True)
    towns = ["Rome", "Bern", "Oslo"]
    rows = [{"n": n, "choices": towns, "right": n % 3} for n in range(N)]
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    place = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(work / "rows.jsonl")}},
        "test_split": "test",
    }
    number = {"function": "regex", "regex_pattern": r"(\d+)"}
    first = {"function": "take_first"}
    counted = {"aggregation": "mean", "higher_is_better": True}
    tasks = [
        {
            "task": "sums",
            "output_type": "generate_until",
            "doc_to_text": "{{n}} + {{n}} =",
            "doc_to_target": "{{n * 2}}",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
            "filter_list": [{"name": "number", "filter": [number, first]},
                            {"name": "whole", "filter": [first]}],
            "metric_list": [{"metric": "exact_match", **counted}],
        },
        {
            "task": "towns",
            "output_type": "multiple_choice",
            "doc_to_text": "Town {{n}}?",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "right",
            "metric_list": [{"metric": "acc", **counted}, {"metric": "acc_norm", **counted}],
        },
    ]  # fmt: skip
    for task in tasks:
        (work / f"{task['task']}.yaml").write_text(yaml.safe_dump({**task, **place}))
    manager = TaskManager(include_path=str(work), include_defaults=False)
    for name in WRONG:
        tracker = EvaluationTracker(output_path=str(out / name))
        tracker.general_config_tracker.log_experiment_args(
            "fixed", f"pretrained={name}", "", "", False
        )
        found = simple_evaluate(
            Fixed(name), tasks=["sums", "towns"], task_manager=manager, bootstrap_iters=0
        )
        samples = found.pop("samples")
        small = {k: found[k] for k in ("results", "n-samples", "n-shot", "higher_is_better")}
        tracker.save_results_aggregated(small, samples)
        for task in found["configs"]:
            tracker.save_results_samples(task, samples[task])
    shutil.rmtree(work)


def inspect(out: Path) -> None:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import pattern

    def sums(epochs: int, items: int) -> Task:
        return Task(
            name="sums",
            dataset=[Sample(f"{n} + {n} =", target=str(2 * n), id=n) for n in range(items)],
            scorer=pattern(r"(\d+)"),
            epochs=epochs,
        )

    def answers(name: str):
        def answer(messages, tools, tool_choice, config) -> ModelOutput:
            output = ModelOutput.from_content(
                "mockllm/model", said(name, int(messages[-1].text.split()[0]))
            )  # without usage a tokenizer is fetched, to count
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
            return output

        return answer

    for name in WRONG:
        for kind, epochs, items in (("eval", 1, N), ("json", 2, 3)):
            eval(
                sums(epochs, items),
                model=get_model("mockllm/model", custom_outputs=answers(name)),
                log_dir=str(out / kind / name),
                log_format=kind,
                display="none",
            )


if __name__ == "__main__":
    {"lm-eval": lm_eval, "inspect": inspect}[sys.argv[1]](Path(sys.argv[2]))
