"""A job's evaluations: which file is whose, and which of them stand."""

import shutil
from copy import deepcopy
from pathlib import Path

import pandas as pd
import pytest

from healscope import provenance
from healscope.config import Protocol
from healscope.evaluation.outputs import Sections, evaluate_outputs, targets
from healscope.models import checkpoints
from healscope.models.variants import from_checkpoint
from healscope.tasks import posing

VARIANTS = ["sft-0", "sft-4"]


class Job:
    """Two checkpoints with the same weights on a few problems of one task, under two protocols."""

    def __init__(self, folder: Path, base_manifest: str, tables, study):
        self.folder = folder
        self.manifests = {}
        for name in VARIANTS:
            self.manifests[name] = str(folder / name / "checkpoint.json")
            checkpoints.publish(Path(base_manifest).parent, self.manifests[name], {})
        self.problems = [str(folder / f"{name}.parquet") for name in ("one", "two")]
        for i, file in enumerate(self.problems):
            posing.all_problems(tables[0]).iloc[2 * i : 2 * i + 3].to_parquet(file)
        self.outputs = [
            str(folder / protocol / name / "gp3.parquet")
            for protocol in ("one", "two")
            for name in VARIANTS
        ]
        self.settings = {
            "evaluation": {"batch_size": 8, "max_new_tokens": 4},
            "protocols": {
                "one": Protocol().model_dump(mode="json"),
                "two": Protocol(seed=7).model_dump(mode="json"),
            },
            "tasks": {"gp3": study.tasks["gp3"].model_dump(mode="json")},
        }
        self.columns = {"track": "micro", "seed": 0}
        self.sources = {v: {"inputs": [m], "config": {}} for v, m in self.manifests.items()}

    def targets(self):
        sections = Sections(**self.settings)
        return targets(self.sources, sections, self.problems, self.outputs, self.columns)

    def run(self) -> list[str]:
        """Run the job; the names of the files that it wrote."""
        before = {f: Path(f).stat().st_ino for f in self.outputs if Path(f).exists()}
        evaluate_outputs(
            [from_checkpoint(v, m) for v, m in self.manifests.items()],
            self.sources, self.manifests["sft-0"], Sections(**self.settings), self.problems,
            self.outputs, self.columns, "test", None,
        )  # fmt: skip
        return [f for f in self.outputs if Path(f).stat().st_ino != before.get(f)]


@pytest.fixture(scope="module")
def done(tmp_path_factory, base_manifest, tables, study) -> Job:
    """A finished job; do not change it."""
    job = Job(tmp_path_factory.mktemp("job"), base_manifest, tables, study)
    assert job.run() == job.outputs
    return job


def test_every_file_holds_its_own_variant_and_protocol(done):
    for i, protocol in enumerate(("one", "two")):
        for j, name in enumerate(VARIANTS):
            frame = provenance.read_table(done.outputs[2 * i + j])
            assert set(frame["protocol"]) == {protocol}
            assert set(frame["checkpoint"]) == {name}
            asked = pd.read_parquet(done.problems[i])
            assert list(frame["problem_id"]) == list(asked["problem_id"])
            record = provenance.read_provenance(done.outputs[2 * i + j])
            assert record["seeds"] == {"sampling": [0, 7][i]}
            made_from = [done.manifests[name], done.problems[i]]
            assert record["inputs"] == provenance.hashes(made_from)


def test_what_stands_is_not_made_again(done):
    assert all(target.stands() for target in done.targets())
    assert done.run() == []


@pytest.mark.parametrize(
    ("section", "name", "key", "value", "stale"),
    [
        ("evaluation", None, "max_new_tokens", 5, [0, 1, 2, 3]),
        ("protocols", "two", "top_p", 0.5, [2, 3]),
        ("tasks", "gp3", "grade_number_line", False, [0, 1, 2, 3]),
    ],
)
def test_a_result_of_another_config_does_not_stand(done, section, name, key, value, stale):
    before = done.settings
    done.settings = deepcopy(before)
    place = done.settings[section]
    (place if name is None else place[name])[key] = value
    try:
        assert [i for i, target in enumerate(done.targets()) if not target.stands()] == stale
    finally:
        done.settings = before


def test_a_result_of_one_rule_does_not_stand_for_both(done):
    """A keeper, of which ID problems alone are asked, may become a task that is evaluated."""
    before = done.settings
    done.settings = {**before, "rules": ["id"]}
    try:
        kept = done.targets()
        assert not any(target.stands() for target in kept)
        assert kept[0].record["config"]["rules"] == ["id"]
    finally:
        done.settings = before
    assert "rules" not in done.targets()[0].record["config"]


def test_a_result_of_other_inputs_or_a_broken_one_does_not_stand(done, tmp_path):
    """Problems of one protocol, the weights of one variant, a file that is cut short."""

    def stale():
        return [i for i, target in enumerate(done.targets()) if not target.stands()]

    def replaced(file: str, content: bytes) -> list[int]:
        shutil.copy2(file, tmp_path / "kept")
        Path(file).write_bytes(content)
        found = stale()
        shutil.copy2(tmp_path / "kept", file)
        return found

    other = tmp_path / "other.parquet"
    pd.read_parquet(done.problems[0]).head(1).to_parquet(other)
    assert replaced(done.problems[0], other.read_bytes()) == [0, 1]
    manifest = Path(done.manifests["sft-4"])
    assert replaced(str(manifest), manifest.read_bytes() + b" ") == [1, 3]
    output = Path(done.outputs[2])
    assert replaced(str(output), output.read_bytes()[:500]) == [2]
    assert stale() == []


def test_one_missing_file_is_made_alone_and_to_the_byte(done):
    """With the same random numbers as in the company of others."""
    file = Path(done.outputs[3])
    before = file.read_bytes()
    file.unlink()
    assert done.run() == [str(file)]
    assert file.read_bytes() == before


def test_a_variant_that_failed_has_files_without_rows(done, base_manifest, tables, study, tmp_path):
    job = Job(tmp_path, base_manifest, tables, study)
    checkpoints.publish_failure("it diverged", job.manifests["sft-4"], {})
    job.sources["sft-4"]["inputs"] = [job.manifests["sft-4"]]
    assert job.run() == job.outputs
    rows = [len(provenance.read_table(f)) for f in job.outputs]
    assert rows == [len(provenance.read_table(done.outputs[0])), 0] * 2
    assert job.run() == []
