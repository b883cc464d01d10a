"""A small hub on this machine that takes uploads, for one account."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from loopback import JSON, Handler, Loopback

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


class _Taking(Handler):
    protocol_version = "HTTP/1.1"
    state: Uploads

    def answer(self) -> None:
        body = self.body()
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
        told = {} if code is None else {"X-Error-Code": code}
        self.give(json.dumps(value).encode(), {**JSON, **told}, status)


@contextmanager
def uploads() -> Iterator[Uploads]:
    """A hub that is empty at first."""
    state = Uploads()
    with Loopback(type("Given", (_Taking,), {"state": state})) as server:
        state.url = server.url
        yield state
