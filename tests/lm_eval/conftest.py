"""Local benchmarks in a folder: YAML files and JSON lines, all that a test needs of a hub."""

import json
import os
from importlib import util
from pathlib import Path

import pytest
import yaml


def pytest_configure():
    if util.find_spec("lm_eval") is None:
        pytest.exit("lm-evaluation-harness is not there: `make test-lm-eval` installs it", 2)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What the package datasets keeps of data that it has read."""
    place = str(tmp_path_factory.mktemp("datasets"))
    before = os.environ.get("HF_DATASETS_CACHE")
    os.environ["HF_DATASETS_CACHE"] = place  # of processes that tests start
    import datasets

    datasets.config.HF_DATASETS_CACHE = Path(place)
    yield
    if before is None:
        del os.environ["HF_DATASETS_CACHE"]


class Benchmarks:
    """A folder of tasks, `tasks`, and the data beside it, `data`."""

    def __init__(self, folder: Path):
        self.folder, self.tasks, self.data = folder, folder / "tasks", folder / "data"
        self.tasks.mkdir(parents=True)
        self.data.mkdir()

    def add(self, name: str, rows: list[dict], examples: list[dict] = (), **section) -> None:
        """A task with these documents; `section`: its YAML, but for where the data are."""
        files = {}
        for split, documents in (("test", rows), ("train", examples)):
            if documents:
                files[split] = str(self.data / f"{name}-{split}.jsonl")
                Path(files[split]).write_text("".join(json.dumps(d) + "\n" for d in documents))
        more = {"fewshot_split": "train"} if examples else {}
        self.write(
            f"{name}.yaml",
            {
                "task": name,
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": files},
                "test_split": "test",
                **more,
                **section,
            },
        )

    def write(self, name: str, section: dict) -> None:
        text = yaml.safe_dump(section, sort_keys=False)
        # a name such as "python:right" is a function of a file beside
        for line in (line for line in text.splitlines() if "python:" in line):
            text = text.replace(line, line.replace("python:", "!function own."))
        (self.tasks / name).write_text(text)

    def task(self, id: list[str], ood: list[str], **settings):
        """The task of a study that asks these."""
        from healscope.tasks.benchmarks.lm_eval import LmEval

        return LmEval(name="bench", id=id, ood=ood, include=str(self.tasks), **settings)


SUMS = {
    "output_type": "generate_until",
    "doc_to_text": "{{a}} + {{b}} =",
    "doc_to_target": "{{sum}}",
    "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 8},
    "filter_list": [
        {
            "name": "number",
            "filter": [
                {"function": "regex", "regex_pattern": r"(\d+)"},
                {"function": "take_first"},
            ],
        },
        {"name": "whole", "filter": [{"function": "take_first"}]},
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
CAPITALS = {
    "output_type": "multiple_choice",
    "doc_to_text": "Capital of {{country}}?",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "right",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm", "acc_bytes")
    ],
}


def sums(n: int, start: int = 0) -> list[dict]:
    pairs = [(i // 7 % 7, i % 7) for i in range(start, start + n)]
    return [{"a": a, "b": b, "sum": a + b} for a, b in pairs]


def capitals(n: int) -> list[dict]:
    """Choices of unlike lengths, in characters and in bytes."""
    towns = ["Rome", "Ulaanbaatar", "Bern", "Reykjavík", "Washington", "Łódź", "São Tomé", "Oslo"]
    return [
        {
            "country": f"land {i // 8} of {i % 8}",
            "choices": [towns[(i * k + k) % len(towns)] for k in (1, 3, 5)],
            "right": i % 3,
        }
        for i in range(n)
    ]


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory) -> Benchmarks:
    """`sums`, whose answers are written, and `capitals`, whose answers are chosen."""
    made = Benchmarks(tmp_path_factory.mktemp("benchmarks"))
    made.add("sums", sums(40), sums(9, 40), num_fewshot=2, **SUMS)
    made.add("capitals", capitals(40), **CAPITALS)
    return made


@pytest.fixture
def empty(tmp_path) -> Benchmarks:
    """A folder without tasks."""
    return Benchmarks(tmp_path)
