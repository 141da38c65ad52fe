#!/bin/sh
# Installs one role's environment from its lock, and checks it:
#
#   sh envs/install.sh core .venv     into the virtual environment .venv, made where it is missing
#   sh envs/install.sh core           into the Python at hand: of a container, of a conda environment
#
# Everybody calls this: make, the container recipes, conda. Run it in the root of the checkout.
# PYTHON names the interpreter (default python3). Roles and what they are for: envs/README.md.
set -eu
[ -f envs/core.txt ] || { echo "run it in the root of the checkout"; exit 1; }
python=${PYTHON:-python3}

check() { # differences are told, and are no failure: another Python, or packages of one's own
  "$python" -m pip check
  "$python" envs/check.py "$@" || echo "($role works; it is not exactly what was tested)"
}
install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }

into() { # an environment of its own, where one is named
  [ -n "$1" ] || return 0
  case $PWD/$1 in
  *[[:space:]\'\"]*)
    echo "healscope: jobs cannot be started by a Python whose path has a space or a quote, as" \
      "$PWD/$1 has; move the checkout to a folder without"
    exit 1
    ;;
  esac
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
  "$python" -m venv "$1"
  python=$1/bin/python
}

role=${1:-}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "healscope needs Python 3.11 or newer (PYTHON=/path/to/python3.11)"; exit 1; }

case $role in
core)
  into "${2:-}"
  install -c envs/core.txt torch # alone and first: so pip takes a build for the CPU if offered one
  install -c envs/core.txt -e '.[dev]'
  check envs/core.txt
  ;;
train | lm-eval | math | gym | mergekit | docs) # on top of core, in the same environment
  sh envs/install.sh core "${2:-}"
  into "${2:-}"
  install -c envs/core.txt -r "envs/$role.txt"
  check envs/core.txt "envs/$role.txt"
  ;;
vllm) # apart: it pins a torch of its own
  into "${2:-}"
  if nvidia-smi >/dev/null 2>&1; then
    install vllm==0.32.0 transformers==5.19.0 # the lock is that of the build for CPUs
    "$python" -m pip check
  else
    install --no-deps -r envs/vllm.txt # it is whole
    "$python" envs/check.py envs/vllm.txt
  fi
  ;;
slurm) # a cluster of one machine, for tests: Debian's packages; the plugin is a part of core
  grep -v '^#' envs/slurm.apt | xargs apt-get install --yes --no-install-recommends
  ;;
*)
  echo "usage: sh envs/install.sh core|train|lm-eval|math|gym|mergekit|docs|vllm|slurm [FOLDER]" >&2
  exit 2
  ;;
esac
