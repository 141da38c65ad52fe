"""One process of a launched training job: `python -m healscope.training.worker job.json`.

healscope.training.launch starts it, and describes its files. The first process logs, draws the bar
and writes files; the others are silent.
"""

import os
import sys
import traceback
import warnings
from pathlib import Path

import torch

from healscope import provenance
from healscope.config import Launch
from healscope.errors import HealscopeError
from healscope.job import prepare_torch
from healscope.training import processes, stop
from healscope.training.health import Diverged
from healscope.training.state import Workspace


def main(file: Path) -> None:
    content, folder = provenance.read_json(file), file.parent
    rank = int(os.environ["RANK"])
    if rank:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    warnings.simplefilter("ignore", FutureWarning)  # torch's about DeepSpeed, at every step
    stop.told_by(folder / "stop")
    try:
        result = _train(content, file)
    except BaseException as error:
        known = isinstance(error, HealscopeError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        provenance.write_json(folder / f"failed-{rank}.json", {"rank": rank, "error": text})
        if known:
            sys.exit(1)
        print(traceback.format_exc(), file=sys.__stderr__)
        raise
    if rank == 0:
        provenance.write_json(folder / "result.json", result)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads of the process group can abort an interpreter that takes itself apart


def _train(content: dict, file: Path) -> dict:
    _start_group()
    from healscope.training import jobs  # late, so that a missing DeepSpeed is found at once
    from healscope.training.compute import Compute

    prepare_torch(content["threads"])
    launch = Launch.model_validate(content["launch"])
    result = {"rows": [], "stopped": "", "diverged": ""}
    try:
        work = Workspace.joined(file.parents[1])
        compute = Compute(launch, content["deepspeed"])
        result["rows"] = jobs.run(content["job"], work, compute)
    except stop.Stopped as stopped:
        result["stopped"] = stopped.where
    except Diverged as diverged:
        result["rows"], result["diverged"] = diverged.rows, str(diverged)
    processes.wait()  # none may go while another talks to it
    return result


def _start_group() -> None:
    """Start the process group and choose the GPU, by the variables that the launcher has set."""
    try:
        import deepspeed
    except ImportError:
        raise HealscopeError(
            "launch.deepspeed: DeepSpeed is not installed; pip install -c envs/train.txt deepspeed"
        ) from None
    deepspeed.utils.logger.setLevel("WARNING")
    if torch.cuda.is_available():
        gpus, local = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
        if local >= gpus:
            raise HealscopeError(
                f"launch.processes: {os.environ['WORLD_SIZE']} processes need a GPU each; this job "
                f"has {gpus}"
            )
        torch.cuda.set_device(local)
    else:  # gloo does for tests, and needs no compiler at the first run
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
