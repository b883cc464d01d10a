"""Answers of models and finished trees on their way to the store, many to a commit.

A commit takes milliseconds, in which nothing else runs. So whatever comes within one turn of
the event loop is stored together, and nobody acts on an answer before it is stored.
"""

from __future__ import annotations

import asyncio

from vilbench.store import trees
from vilbench.store.records import Call
from vilbench.store.run import Run
from vilbench.store.trees import Grown


class Journal:
    """Writes for one run and key; for one event loop.

    Args:
        run: Open for writing.
        key: Names what the trees are made by.

    Attributes:
        commits: Commits made.
    """

    def __init__(self, run: Run, key: str) -> None:
        self._run = run
        self._key = key
        self._calls: list[Call] = []
        self._grown: list[Grown] = []
        self._stored: asyncio.Future[None] | None = None
        self.commits = 0

    async def keep(self, call: Call) -> None:
        """Returns when the answer is stored.

        Raises:
            RunStorageError: It cannot be.
        """
        self._calls.append(call)
        await self._commit()

    async def finish(self, grown: Grown) -> None:
        """Returns when the tree is stored.

        Raises:
            RunStorageError: It cannot be.
        """
        self._grown.append(grown)
        await self._commit()

    async def _commit(self) -> None:
        if self._stored is None:
            loop = asyncio.get_running_loop()
            self._stored = loop.create_future()
            loop.call_soon(self._write)
        # A task that is cancelled must not take the others' commit with it.
        await asyncio.shield(self._stored)

    def _write(self) -> None:
        calls, self._calls = self._calls, []
        grown, self._grown = self._grown, []
        stored, self._stored = self._stored, None
        if stored is None:
            return
        try:
            trees.put(self._run, self._key, calls, grown)
        except Exception as error:
            stored.set_exception(error)
            stored.exception()  # retrieved, should every waiting task be gone
        else:
            self.commits += 1
            stored.set_result(None)
