"""Whatever library meets the full disk, and however it says so, the job says the same."""

import json
from pathlib import Path

import pytest
from small_disk import on_small_disk

WRITERS = {
    "safetensors": "save_file({'a': torch.zeros(MB)}, 'weights')",
    "transformers": "GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=60)).save_pretrained('model')",
    "torch": "torch.save({'a': torch.zeros(MB)}, 'optimizer.pt')",
    "a table": "provenance.write_table('x.parquet', rows, {}, BASE_LOG)",
    "json": "provenance.write_json('x.json', list(range(MB)))",
    "a state": "Workspace('w', 'x').save(1, {'a': torch.zeros(MB)}, [])",
    "a copy": "shutil.copy2(torch.__file__.replace('__init__.py', 'lib/libtorch_cpu.so'), 'copy')",
}  # each 2 MB or more


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, tuple[list[str], list[str]]]:
    """writer -> what its job writes to stderr, and the files that it leaves."""
    code = f"""
import contextlib, io, json, os, shutil, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np, pandas as pd, torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel
from healscope import provenance
from healscope.job import job
from healscope.training.schemas import BASE_LOG
from healscope.training.state import Workspace
from test_job import script
MB = 2**20
noise = np.random.default_rng(0).random(size=MB // 8)
rows = pd.DataFrame({{"step": range(MB // 8), "loss": noise, "learning_rate": noise}})
rows = rows.assign(track="m", seed=0, run="base")
said = {{}}
for name, statement in {WRITERS!r}.items():
    terminal = io.StringIO()
    with contextlib.redirect_stderr(terminal):
        try:
            with job(script("log")):
                exec(statement)
        except SystemExit:
            pass
        except BaseException as error:
            print("raised", type(error), error, file=sys.stderr)
    left = [os.path.join(d, f) for d, _, files in os.walk(".") for f in files]
    said[name] = (terminal.getvalue().splitlines(), left)
    for file in os.listdir():
        shutil.rmtree(file) if os.path.isdir(file) else os.remove(file)
print("SAID", json.dumps(said))
"""
    output = on_small_disk(tmp_path_factory.mktemp("disk"), "1m", code)
    return json.loads(output.split("SAID ")[1].splitlines()[0])


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_sentence(said, writer):
    lines, _ = said[writer]
    ours = [line for line in lines if line.startswith("healscope: ")]
    assert len(ours) == 1, lines
    assert ours[0].startswith("healscope: No space left on device (0.0 GB where results")
    assert ours[0].endswith("then rerun; what was saved stands (log: log)")
    assert "Traceback" not in "\n".join(lines)


@pytest.mark.parametrize("writer", ["a table", "json", "a state"])
def test_what_we_write_is_never_there_in_part_under_its_name(said, writer):
    """Its log, what it began, and what was there before it."""
    _, left = said[writer]
    assert "./log" in left
    others = {Path(file) for file in left} - {Path("log"), Path("w.lock"), Path("w/fingerprint")}
    assert not [file for file in others if not any(p.endswith(".part") for p in file.parts)]
