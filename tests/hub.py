"""A hub on this machine: what the real one answers, as far as a download asks."""

import hashlib
import json
import os
import socket
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "a" * 40
REFUSALS = {
    "gated": (401, "GatedRepo", "Access to model is restricted. Please log in."),
    "not among the allowed": (403, "GatedRepo", "You are not in the authorized list."),
    "no such model": (401, "RepoNotFound", "Repository not found"),
    "no such revision": (404, "RevisionNotFound", "Invalid rev id"),
    "out of order": (503, "", ""),
}


class Hub(ThreadingHTTPServer):
    """Serves one folder as model `owner/model`. `answer`: "all", a key of REFUSALS, "gated files"
    (who may not have them still sees their names), or "breaks off" (in the middle of weights)."""

    def __init__(self, folder: Path, answer: str = "all"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.answer = folder, answer
        self.sent: list[str] = []  # names of files that were asked for


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer(body=True)

    def do_HEAD(self):
        self._answer(body=False)

    def log_message(self, *_):
        pass

    def _answer(self, body: bool):
        path, hub = self.path.partition("?")[0], self.server
        if hub.answer in REFUSALS:
            self._refuse(*REFUSALS[hub.answer])
        elif path.startswith("/api/models/owner/model/tree/"):
            files = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": _etag(f)}
                for f in hub.folder.iterdir()
            ]
            self._send(json.dumps(files).encode())
        elif path.startswith("/api/models/owner/model"):
            self._send(json.dumps({"id": "owner/model", "sha": SHA}).encode())
        elif hub.answer == "gated files":
            self._refuse(*REFUSALS["gated"])
        elif not path.startswith("/owner/model/resolve/"):
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            self._file(hub.folder / Path(path).name, body)

    def _file(self, file: Path, body: bool):
        content = file.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if body:
            self.server.sent.append(file.name)
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_etag(file)}"')
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.server.answer == "breaks off" and file.suffix == ".safetensors":
            content = content[: len(content) // 2]
        if body:
            self.wfile.write(content[start:])

    def _send(self, content: bytes):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str, message: str):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def serving(folder: Path, answer: str = "all"):
    with Hub(folder, answer) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        yield hub
        hub.shutdown()


@contextmanager
def silent():
    """A port that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def closed() -> int:
    """A port at which nobody is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def environment(port: int, home: Path | None = None, **more: str) -> dict[str, str]:
    """For a process that takes the hub at `port` for the hub; its cache is in `home`."""
    return os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(home or tempfile.mkdtemp()),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_ETAG_TIMEOUT": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "HF_TOKEN": "",
        "NO_PROXY": "127.0.0.1",  # a proxy of this machine does not lead to it
        "no_proxy": "127.0.0.1",
        **more,
    }
