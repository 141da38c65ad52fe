"""Calls of Snakemake for tests, answered by a process that has imported everything once.

Run as a program this file is that process, a server: it answers each line of its input, the
arguments of one call, by a process that is forked for the call. What jobs do is the program's
argument:

- `touch`: they touch their outputs, see hollow.py
- `fork`: they run their scripts, each in a process of its own. It is forked from one that has
  imported what scripts import, instead of starting Python anew, and that is all that differs from
  a user's run: Snakemake writes the same script, with the same object in it, and the process has
  the folder, environment, streams and exit code of a job.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

from runner import ROOT

# as Snakemake sets them for a job
OF_THREADS = [
    f"{library}_NUM_THREADS" for library in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR")
] + ["VECLIB_MAXIMUM_THREADS"]
TEMPORARY = ["TMPDIR", "TMP", "TEMPDIR", "TEMP"]
# what imports read of the environment: no thread may run where jobs are forked
ONE_THREAD = {
    **dict.fromkeys(OF_THREADS, "1"),
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "agg",
}


class Server:
    """The process that calls Snakemake; a context."""

    def __init__(self, jobs: str):
        self.jobs = jobs

    def __enter__(self) -> "Server":
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.jobs], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=ROOT, env={**os.environ, **ONE_THREAD},
        )  # fmt: skip
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate("")

    def call(self, args: list[str]) -> tuple[int, str]:
        """(exit code, everything printed) of `snakemake` with these arguments."""
        print(json.dumps(args), file=self.process.stdin, flush=True)
        return tuple(json.loads(self.process.stdout.readline()))


def forked(work) -> int:
    """The process that does `work()`, and ends with what that returns."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code or 0)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Jobs:
    """A process whose forks run scripts; in it nothing but the main thread has ever run."""

    def __init__(self):
        self.socket, requests = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self.process = forked(lambda: self._serve(requests))
        requests.close()

    def run(self, script, file: str, edit=False) -> None:
        """As `PythonScript.execute_script`, by any thread of the process that called Snakemake."""
        environment = {**os.environ, **dict.fromkeys(OF_THREADS, str(script.threads))}
        if folder := script.resources.get("tmpdir"):
            environment |= dict.fromkeys(TEMPORARY, folder)
        asked = json.dumps([os.path.abspath(file), os.getcwd(), environment]).encode()
        answer, theirs = socket.socketpair()
        with answer:
            socket.send_fds(self.socket, [asked], [1, 2, theirs.fileno()])
            theirs.close()
            code = int(answer.recv(16) or -1)
        if code:
            raise subprocess.CalledProcessError(code, [sys.executable, file])

    def close(self) -> None:
        self.socket.close()
        ended(self.process)

    def _serve(self, requests: socket.socket) -> int:
        self.socket.close()
        watching = []
        while True:
            asked, streams, *_ = socket.recv_fds(requests, 1 << 18, 3)
            if not asked:
                break
            watching.append(forked(lambda: self._watch(requests, json.loads(asked), *streams)))  # noqa: B023
            for stream in streams:
                os.close(stream)
        for child in watching:
            ended(child)
        return 0

    def _watch(self, requests, asked: list, stdout: int, stderr: int, answer: int) -> int:
        requests.close()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for stream in (stdout, stderr):
            os.close(stream)
        code = ended(forked(lambda: self._script(*asked)))
        os.write(answer, str(code).encode())
        return 0

    def _script(self, file: str, folder: str, environment: dict[str, str]) -> int:
        """As `python file`."""
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv, sys.path[0] = [file], os.path.dirname(file)
        tempfile.tempdir = None  # as the environment says
        try:
            runpy.run_path(file, run_name="__main__")
        finally:
            threading._shutdown()
            atexit._run_exitfuncs()
        return 0


def _answer(args: list[str], jobs: str) -> tuple[int, str, list[str]]:
    """(exit code, everything printed, modules imported) of a process of its own."""
    from snakemake import cli
    from snakemake.script import PythonScript

    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as modules:

        def work():
            with open(os.devnull) as nothing:
                os.dup2(nothing.fileno(), 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            if jobs == "fork":
                forks = Jobs()
                PythonScript.execute_script = lambda *given, **more: forks.run(*given, **more)
            try:
                return cli.main(args)
            finally:
                print(*sys.modules, file=modules, flush=True)
                if jobs == "fork":
                    forks.close()

        code = ended(forked(work))
        for file in (said, modules):
            file.seek(0)
        return code, said.read(), modules.read().split()


def _import_all() -> None:
    """What jobs import, also late."""
    import fontTools.subset  # noqa: F401 (matplotlib's PDF)
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_pdf  # noqa: F401
    import PIL.Image
    import torch

    import healscope

    PIL.Image.preinit()

    torch.set_num_threads(1)
    for found in pkgutil.walk_packages(healscope.__path__, "healscope."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _serve(jobs: str) -> None:
    from snakemake.script import PythonScript

    import healscope.config
    import healscope.figures.catalogue  # noqa: F401 (what the Snakefile imports)

    if jobs == "touch":
        from hollow import touch

        PythonScript.evaluate = touch
    else:
        _import_all()
        assert len(list(Path("/proc/self/task").iterdir())) == 1, "a fork has no other threads"
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        code, output, modules = _answer(json.loads(line), jobs)
        print(json.dumps([code, output]), flush=True)
        for name in modules:  # what a call imports late the next one finds imported
            if name.partition(".")[0] in ("snakemake", "smart_open", "yaml", "jinja2", "pandas"):
                importlib.import_module(name)


if __name__ == "__main__":
    _serve(sys.argv[1])
