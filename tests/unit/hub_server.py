"""A small hub on this machine: the HTTP of one data set's files at one commit, by folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import JSON, Handler, Loopback


class _Hub(Handler):
    protocol_version = "HTTP/1.1"
    folder: Path
    repository: str
    commit: str
    seen: list[str]

    def answer(self) -> None:
        body = self.body().decode()
        given = json.loads(body) if body.startswith("{") else parse_qs(body)
        paths = [str(one) for one in given.get("paths", [])]
        path = unquote(urlsplit(self.path).path)
        self.seen.append(path)
        info, files = f"/api/datasets/{self.repository}", f"/datasets/{self.repository}/resolve/"
        if path in (info, f"{info}/revision/{self.commit}", f"{info}/revision/main"):
            found = [{"rfilename": name} for name in self._names()]
            self._json({"id": self.repository, "sha": self.commit, "siblings": found, "tags": []})
        elif path.startswith(f"{info}/tree/{self.commit}"):
            below = path.removeprefix(f"{info}/tree/{self.commit}").strip("/")
            whole = "recursive=true" in urlsplit(self.path).query.lower()
            self._json(self._tree(f"{below}/" if below else "", whole=whole))
        elif path == f"{info}/paths-info/{self.commit}":
            self._json([self._entry(name) for name in paths if name in self._names()])
        elif path.startswith(f"{files}{self.commit}/"):
            self._file(path.removeprefix(f"{files}{self.commit}/"))
        else:
            self.give(b"", {"X-Error-Code": "RevisionNotFound"}, 404)

    def _names(self) -> list[str]:
        found = [path for path in self.folder.rglob("*") if path.is_file()]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def _tree(self, below: str, *, whole: bool) -> list[dict[str, Any]]:
        """Files below a folder, and folders; only its own ones unless `whole`."""
        names = [name for name in self._names() if name.startswith(below)]
        folders = dict.fromkeys(
            parent.as_posix() for name in names for parent in PurePosixPath(name).parents
        )
        found = [
            {"type": "directory", "path": one, "oid": "0" * 40} for one in folders if one != "."
        ]
        found += [self._entry(name) for name in names]
        depth = below.count("/")
        inside = [one for one in found if str(one["path"]).startswith(below)]
        return [one for one in inside if whole or str(one["path"]).count("/") == depth]

    def _entry(self, name: str) -> dict[str, Any]:
        data = (self.folder / name).read_bytes()
        oid = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        return {"type": "file", "path": name, "size": len(data), "oid": oid}

    def _file(self, name: str) -> None:
        if name not in self._names():
            self.give(b"", {"X-Error-Code": "EntryNotFound"}, 404)
            return
        tag = self._entry(name)["oid"]
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": self.commit}
        self.give((self.folder / name).read_bytes(), headers)

    def _json(self, value: object) -> None:
        self.give(json.dumps(value).encode(), JSON)


class Hub:
    """Where it listens, and the paths that it was asked for."""

    def __init__(self, url: str, seen: list[str]) -> None:
        self.url = url
        self.seen = seen


@contextmanager
def hub(folder: Path, repository: str, commit: str) -> Iterator[Hub]:
    """Serves a folder as the files of a data set at a commit."""
    seen: list[str] = []
    given = {"folder": folder, "repository": repository, "commit": commit, "seen": seen}
    with Loopback(type("Given", (_Hub,), given)) as server:
        yield Hub(server.url, seen)
