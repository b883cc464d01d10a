"""The indexes of all runs, kept up to date by one thread, so that pages never wait long."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vilbench.errors import RunError, VilbenchError
from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.stages import Stages, noted
from vilbench.store.run import Run
from vilbench.viewer.index import Index, Progress
from vilbench.viewer.library import Entry

_log = logging.getLogger(__name__)

PATIENCE = 0.25
"""Seconds that a page waits for an index before it says how far that is."""

_PAUSE = 1.0
"""Seconds between two looks for what is new in a run."""


class Planner(Protocol):
    """Who knows how a run is analysed: recipes are above this room."""

    def __call__(self, run: Run, /) -> Plan | None:
        """The plan of the run's recipe; None for a run that is no Best-of-N run."""
        ...


@dataclass(frozen=True)
class Shown:
    """A run as pages see it.

    Attributes:
        stages: None where nothing has been sampled.
        plan: None where the run is no Best-of-N run, or its recipe is unknown.
        index: May lack problems, as `progress` says.
    """

    stages: Stages | None
    plan: Plan | None
    index: Index
    progress: Progress


def stages_of(run: Run) -> Stages | None:
    """What was sampled and scored last; None where nothing was sampled."""
    try:
        return noted(run)
    except RunError:
        return None


@dataclass
class _State:
    """What is remembered of one run; `idle` is set while nothing is to be done for it."""

    index: Index
    looked: float = float("-inf")
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    idle: threading.Event = field(default_factory=threading.Event)
    queued: bool = False


class Shelf:
    """Where the indexes lie.

    Args:
        planner: Who tells how a run is analysed.
        folder: The cache; a folder that goes with the process where it cannot be used.
    """

    def __init__(self, planner: Planner, folder: Path | None) -> None:
        self._planner = planner
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._folder = self._usable(folder)
        self._states: dict[str, _State] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._woken = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def show(self, entry: Entry, run: Run, patience: float = PATIENCE) -> Shown:
        """The run with its index, brought up to date for as long as there is patience."""
        stages, plan = stages_of(run), self._plan(run)
        state = self._state(entry)
        with self._lock:
            due = time.monotonic() - state.looked > _PAUSE and not state.queued
            if due:
                state.looked = time.monotonic()
        if due:
            state.progress = self._look(state, run, plan, stages)
            if not state.progress.ready:
                self._queue(entry, state)
        if not state.progress.ready:
            state.idle.wait(patience)
        return Shown(stages, plan, state.index, state.progress)

    def _look(self, state: _State, run: Run, plan: Plan | None, stages: Stages | None) -> Progress:
        try:
            return state.index.look(run, plan, stages)
        except sqlite3.DatabaseError:
            # A damaged or foreign file in the cache is worth nothing.
            for end in ("", "-wal", "-shm"):
                Path(f"{state.index.path}{end}").unlink(missing_ok=True)
            return state.index.look(run, plan, stages)

    def _plan(self, run: Run) -> Plan | None:
        try:
            return self._planner(run)
        except VilbenchError:
            return None

    def _state(self, entry: Entry) -> _State:
        with self._lock:
            if entry.slug not in self._states:
                name = hashlib.sha256(os.fsencode(entry.folder)).hexdigest()[:32]
                self._states[entry.slug] = _State(Index(self._folder / f"{name}.sqlite"))
            return self._states[entry.slug]

    def _queue(self, entry: Entry, state: _State) -> None:
        with self._lock:
            if state.queued:
                return
            state.queued = True
            state.idle.clear()
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="index", daemon=True)
                self._thread.start()
            self._woken.notify()

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    self._woken.wait()
                entry = self._waiting.popleft()
                state = self._states[entry.slug]
            try:
                self._bring_up_to_date(entry, state)
            except Exception as error:
                # The next request looks again; the pages go on without.
                _log.warning("an index could not be made: %s", type(error).__name__)
            finally:
                with self._lock:
                    state.queued = False
                state.idle.set()

    def _bring_up_to_date(self, entry: Entry, state: _State) -> None:
        with entry.open() as run:
            stages, plan = stages_of(run), self._plan(run)
            while not state.progress.ready:
                state.progress = state.index.work(run, plan, stages)
            if plan is not None:
                state.index.histograms(plan.scorers)

    def _usable(self, folder: Path | None) -> Path:
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with tempfile.TemporaryFile(dir=folder):
                    return folder
        except OSError:
            pass
        self._temporary = tempfile.TemporaryDirectory(prefix="vilbench-view-")
        return Path(self._temporary.name)
