"""The process behind the engine: tied heads, and what is said when it cannot start, hangs, dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from healscope.engines import HF, VLLM, Process
from healscope.errors import HealscopeError
from healscope.models import checkpoints
from healscope.models.variants import from_checkpoint

STEP = {"eos": 2, "pad": 0, "max_new_tokens": 12}


def test_a_tied_head_moves_with_the_embeddings_and_then_the_process_hangs_and_dies(
    make, settings, prompts, tmp_path
):
    first, second = make("qwen2", 0), make("qwen2", 1)
    process = Process(settings, str(tmp_path / "job.log"))
    with VLLM(Path(first).parent, process, 64, 0.9) as engine:
        for variant, manifest in zip(
            engine.each([from_checkpoint("other", second), from_checkpoint("back", first)]),
            (second, first),
            strict=True,
        ):
            theirs = HF(checkpoints.load_model(manifest)[0]).generate(prompts, **STEP)
            assert engine.generate(prompts, **STEP).ids() == theirs.ids(), variant.name
        assert engine.facts["vllm"]
        assert engine.facts["dtype"] == "float32"

        os.kill(engine.child.pid, signal.SIGTERM)  # a scheduler's warning, to all of a job
        assert engine.generate(prompts[:2], **STEP).ids() == theirs.ids()[:2]

        engine.settings = settings.model_copy(update={"patience_minutes": 0.02})
        os.kill(engine.child.pid, signal.SIGSTOP)
        with pytest.raises(HealscopeError, match=r"has said nothing .*job-engine\.log"):
            engine.generate(prompts, **STEP)
        engine.settings = settings
        with pytest.raises(HealscopeError, match=r"died \(killed by signal 9\).*job-engine\.log"):
            engine.generate(prompts, **STEP)


def test_a_head_size_that_the_cpu_backend_lacks_is_named(make, settings, tmp_path):
    import json

    folder = Path(make("llama", 0)).parent
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "head_dim": 16}))
    with (
        pytest.raises(HealscopeError, match="attention heads have size 16.*use engine hf"),
        VLLM(folder, Process(settings, str(tmp_path / "job.log")), 8, 0.9),
    ):
        pass


PARENT = """
import sys
from healscope.config import Vllm
from healscope.engines import VLLM, Process
settings = Vllm(python=sys.argv[1], dtype="float32")
with VLLM(sys.argv[2], Process(settings, sys.argv[3]), 64, 0.9) as engine:
    print(engine.child.pid, flush=True)
    while True:
        engine.generate([[1, 5, 6]] * 64, eos=-1, pad=0, max_new_tokens=200)
"""


def test_nothing_is_left_when_the_job_is_killed(base_manifest, python, tmp_path):
    job = subprocess.Popen(
        [sys.executable, "-c", PARENT, python, Path(base_manifest).parent, tmp_path / "job.log"],
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(job.stdout.readline())
    time.sleep(0.5)  # it is at work
    assert alive(worker)
    job.kill()
    job.wait()
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.1)
    raise AssertionError("the engine's process outlives its job")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
