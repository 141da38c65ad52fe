"""Fetching from a hub that answers, refuses, says nothing or is not there."""

import subprocess
import sys
from pathlib import Path

import hub
import pytest

SECRET = "hf_" + "s" * 20


def fetch(environment, source="owner/model", revision=None) -> str:
    """What a process prints: the folder, or the sentence."""
    code = f"""
from healscope.errors import HealscopeError
from healscope.models import hub
try:
    print(hub.folder({source!r}, {revision!r}))
except HealscopeError as error:
    print("healscope:", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def folder(base_manifest) -> Path:
    return Path(base_manifest).parent


def test_a_fetched_model_is_whole_and_then_needs_no_hub(folder, tmp_path):
    with hub.serving(folder) as server:
        fetched = Path(fetch(hub.environment(server.server_port, tmp_path)))
    names = {f.name for f in folder.iterdir()}
    assert {f.name for f in fetched.iterdir()} == names
    assert all((fetched / n).read_bytes() == (folder / n).read_bytes() for n in names)
    assert fetch(hub.environment(hub.closed(), tmp_path)) == str(fetched)
    offline = hub.environment(hub.closed(), tmp_path, HF_HUB_OFFLINE="1")
    assert fetch(offline) == str(fetched)


@pytest.mark.parametrize("answer", ["gated", "not among the allowed", "gated files"])
@pytest.mark.parametrize("token", ["", SECRET])
def test_a_gated_model(folder, answer, token):
    with hub.serving(folder, answer) as server:
        said = fetch(hub.environment(server.server_port, HF_TOKEN=token))
    assert "model 'owner/model' is gated: accept its licence at http://127.0.0.1" in said
    assert f"({'one is set, and not enough' if token else 'none is set'})" in said
    assert SECRET not in said


@pytest.mark.long
def test_what_the_hub_does_not_have(folder):
    with hub.serving(folder, "no such model") as server:
        said = fetch(hub.environment(server.server_port))
        assert "is neither a folder here nor a model at http" in said
        assert "correct the path or id" in said
        server.answer = "no such revision"
        said = fetch(hub.environment(server.server_port), revision="v9")
        assert "'owner/model', revision v9, is not at" in said
        assert "correct the revision" in said
    assert "give a path or `owner/name`" in fetch(hub.environment(hub.closed()), "a/b/c")


@pytest.mark.long
def test_a_hub_that_is_not_there_says_nothing_or_is_out_of_order(folder):
    said = fetch(hub.environment(hub.closed()))
    assert "does not answer as a hub does ([Errno 111] Connection refused)" in said
    assert "HF_HUB_OFFLINE=1" in said
    assert "HF_ENDPOINT" in said
    with hub.silent() as port:
        assert "does not answer as a hub does (timed out)" in fetch(hub.environment(port))
    with hub.serving(folder, "out of order") as server:
        assert "503 Service Unavailable" in fetch(hub.environment(server.server_port))


def test_offline_without_the_files():
    said = fetch(hub.environment(hub.closed(), HF_HUB_OFFLINE="1"))
    assert "nor whole in the cache" in said
    assert "hf download owner/model" in said


@pytest.mark.long
def test_a_download_that_broke_off_is_not_taken_for_whole_and_goes_on(folder, tmp_path):
    with hub.serving(folder, "breaks off") as server:
        environment = hub.environment(server.server_port, tmp_path)
        assert "cannot be fetched" in fetch(environment)
        offline = environment | {"HF_HUB_OFFLINE": "1"}
        assert "nor whole in the cache" in fetch(offline)
        server.answer, server.sent = "all", []
        fetched = Path(fetch(environment))
    file = "model.safetensors"
    assert (fetched / file).read_bytes() == (folder / file).read_bytes()
    assert set(server.sent) == {file}  # the others had come
