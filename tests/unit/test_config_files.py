"""A config file that cannot be read as meant is refused with its line, whatever the locale."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from healscope import planning
from healscope.config import files
from healscope.errors import HealscopeError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"study: x\ntasks:\n\tgp: 1\n", "line 3: a tab before the first word"),
        (b"", "has no keys: it is empty"),
        (b"# only\n# comments\n", "has no keys: it is empty, or holds comments alone"),
        (b"- a\n- b\n", "has no keys: a config is made of lines"),
        (b"study: x\n# caf\xe9\n", "line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"study: x\nseeds: [0, 1\nsft: 1\n", "line 3: expected ',' or ']'"),
        (b"sft:\n  140: a\n  140: b\n", "line 3: '140' is given twice; keep one"),
        (b"sft:\n  0140: a\n", "line 2: YAML reads 0140 as the octal number 96; write 140"),
        (b"seeds: [0, 010]\n", "line 1: YAML reads 010 as the octal number 8; write 10"),
        (b"sft:\n  steps: 1:30\n", "line 2: YAML reads 1:30 as 90, in base 60"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(tmp_path, content, expected):
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    with pytest.raises(HealscopeError) as error:
        files.read(file)
    assert str(error.value).startswith(str(file))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(HealscopeError, match=r"none.yaml cannot be read: No such file"):
        planning.plan([str(tmp_path / "none.yaml")])


def test_what_is_read_is_what_yaml_reads(tmp_path):
    for file in sorted((ROOT / "config").glob("*.yaml")):
        assert files.read(file) == yaml.safe_load(file.read_bytes()), file.name
    crlf = tmp_path / "crlf.yaml"
    crlf.write_bytes(b"\xef\xbb\xbfstudy: x\r\nseeds: [0, 08]\r\nnumber: 0x1F\r\n")
    assert files.read(crlf) == {"study": "x", "seeds": [0, "08"], "number": 31}


def test_files_are_utf8_in_every_locale(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_bytes("study: x  # größer\n".encode())
    env = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = f"from healscope.config import files; print(files.read({str(file)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "{'study': 'x'}", done.stderr
