"""Lists the jobs that Snakemake would start, from the events that it logs in a dry run.

Run as a script with the arguments of Snakemake, it does one and prints a line of JSON for each job:
`rule`, `wildcards` and `output`.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Sequence

from healscope.errors import HealscopeError


def dry_run(arguments: Sequence[str]) -> list[dict]:
    """Return `rule`, `wildcards` and `output` of each job that would start, except target `all`.

    `arguments` are those of Snakemake. Raises HealscopeError with its last lines if it fails.
    """
    command = [sys.executable, "-P", __file__, "--dry-run", "--quiet", "all", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise HealscopeError("the dry run failed:\n" + "\n".join(lines[-12:]))
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"rule"')]


def _report(record: logging.LogRecord) -> bool:
    """Print a job that Snakemake logs. A filter of its logger, since Snakemake replaces
    handlers."""
    event = getattr(record.__dict__.get("event"), "name", None)
    if event == "JOB_INFO" and record.rule_name != "all":
        output = [file.removesuffix(" (update)") for file in record.output]
        about = {"wildcards": dict(record.wildcards), "output": output}
        print(json.dumps({"rule": record.rule_name, **about}))
    return True


if __name__ == "__main__":
    from snakemake.cli import main
    from snakemake.logging import logger

    logger.addFilter(_report)
    main(sys.argv[1:])
