"""A small hub on this machine that takes uploads, for one account."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_" + "a" * 30
READ_ONLY = "hf_" + "b" * 30


@dataclass
class Uploads:
    """What a hub was asked for, and what it holds.

    Attributes:
        url: Where it listens.
        repositories: What was told of each when it was made.
        branches: Of each repository.
        files: Contents by repository, branch and path.
        commits: Titles, in their order.
        requests: Methods and paths, in their order.
    """

    url: str = ""
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    branches: dict[str, set[str]] = field(default_factory=dict)
    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    broken: int | None = None

    def of(self, repository: str, branch: str = "main") -> dict[str, bytes]:
        """Files of a branch."""
        return {
            path: data
            for (name, on, path), data in self.files.items()
            if (name, on) == (repository, branch)
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Uploads

    def log_message(self, *_: object) -> None:
        """Nothing on the screen."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0) or 0))
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.state.broken is not None:
            self._json({"error": "out of order"}, self.state.broken)
        elif token not in (TOKEN, READ_ONLY):
            self._json({"error": "Invalid username or password."}, 401)
        elif token == READ_ONLY:
            self._json({"error": "this token may only read"}, 403)
        elif path == "/api/repos/create":
            self._created(json.loads(body))
        else:
            self._within(path, body)

    def _created(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.state.repositories
        if not known:
            self.state.repositories[name] = asked
            self.state.branches[name] = {"main"}
        self._json({"url": f"{self.state.url}/{name}", "name": name}, 409 if known else 200)

    def _within(self, path: str, body: bytes) -> None:
        kind, owner, name, action, branch = (*path.removeprefix("/api/").split("/", 4), "")[:5]
        repository = f"{owner}/{name}"
        made = self.state.repositories.get(repository, {})
        branches = self.state.branches.get(repository, set())
        if f"{made.get('type', 'model')}s" != kind:
            self._json({"error": "Repository not found"}, 404, "RepoNotFound")
        elif action == "branch":
            known = branch in branches
            branches.add(branch)
            self._json({}, 409 if known else 200)
        elif branch not in branches:
            self._json({"error": "Revision not found"}, 404, "RevisionNotFound")
        elif action == "preupload":
            asked = json.loads(body)["files"]
            told = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": one["path"], **told} for one in asked]})
        else:
            self._committed(repository, branch, body)

    def _committed(self, repository: str, branch: str, body: bytes) -> None:
        for line in body.splitlines():
            given = json.loads(line)
            value = given["value"]
            if given["key"] == "header":
                self.state.commits.append(value["summary"])
            else:
                data = base64.b64decode(value["content"])
                self.state.files[repository, branch, value["path"]] = data
        commit = "1" * 40
        url = f"{self.state.url}/{repository}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def _json(self, value: object, status: int = 200, code: str | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code is not None:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def uploads() -> Iterator[Uploads]:
    """A hub that is empty at first."""
    state = Uploads()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Given", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
