"""Hugging Face on this machine: it serves the files of one folder."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "0123456789abcdef0123456789abcdef01234567"


class TinyHub(ThreadingHTTPServer):
    """Serves a folder as the files of every repository.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    asked : list of str
        Addresses that were asked for.
    is_slow : bool
        Whether the second half of a file comes drop by drop.
    is_gated : bool
        Whether files are kept from those who did not ask for access.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.folder = folder
        self.asked: list[str] = []
        self.is_slow = self.is_gated = False

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def fetched(self) -> list[str]:
        """Names of the files that were asked for."""
        return [one.rpartition("/")[2] for one in self.asked if "/resolve/" in one]

    def about(self) -> dict[str, Any]:
        """Say what the repository holds; large files with their checksum."""
        files = []
        for path in sorted(self.folder.iterdir()):
            one: dict[str, Any] = {"rfilename": path.name}
            if path.suffix == ".safetensors":
                content = path.read_bytes()
                digest = sha256(content).hexdigest()
                one["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 9}
            files.append(one)
        # What is in folders of the repository is no part of the model.
        files.append({"rfilename": "tokenizer/../../model.safetensors"})
        return {"id": "some/model", "sha": VERSION, "siblings": files}


class _Answers(BaseHTTPRequestHandler):
    server: TinyHub

    def do_GET(self) -> None:
        """Describe the repository, or hand over a file."""
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path.startswith("/api/models/"):
            self._send(json.dumps(self.server.about()).encode(), "application/json")
            return
        file = self.server.folder / path.rpartition("/")[2]
        if f"/resolve/{VERSION}/" not in path or not file.is_file():
            self.send_error(404)
            return
        if self.server.is_gated:
            self.send_error(403)
            return
        self._send(file.read_bytes(), "application/octet-stream")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2 if self.server.is_slow else len(content)
        self.wfile.write(content[:half])
        with suppress(ConnectionError):  # who asked may have gone
            for first in range(half, len(content), 256):
                self.wfile.write(content[first : first + 256])
                sleep(0.05)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path, monkeypatch: Any) -> Iterator[TinyHub]:
    """Have the library ask a hub that holds a folder's files."""
    hub = TinyHub(folder)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    # Nobody's own token goes anywhere.
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


def offline(monkeypatch: Any, reason: str = "no route to host.\nDetails") -> None:
    """Have the library reach nobody."""

    def nobody(*_: Any, **__: Any) -> None:
        raise ConnectionError(reason)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", nobody)
