"""Workers as actors of Ray: on a cluster that is there, or on one for this command alone.

Ray lets whoever reaches a cluster run any code there. One that is begun here listens on the
loopback alone and asks for a token that nobody else has; nothing is reported anywhere.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from vilbench.errors import ExecutorError, InputError
from vilbench.executors.bench import Bench, Build, Job, Prepared, Refusal
from vilbench.executors.pool import WorkerLostError

_STORE_BYTES: Final = 256_000_000
"""Of objects on the way, in a cluster that is begun here."""

_HERE: Final = "127.0.0.1"
SILENT: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Variables under which Ray tells nobody that it runs."""

LOOPBACK: Final = {
    **SILENT,
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""Variables under which Ray listens on 127.0.0.1 and nowhere else, as it does on systems on which
it knows no clusters, and asks for a token that this process alone has. It reads the first when it
is imported, and the token once."""

_DETAIL: Final = "Worker exit detail:"


@dataclass(frozen=True)
class Needs:
    """What a worker takes of its machine; Ray keeps others from it.

    Attributes:
        cpus: Of its processors.
        gpus: Of its accelerators; a part of one where several workers share it.
    """

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True)
class Room:
    """What a cluster has.

    Attributes:
        machines: That are alive.
        cpus: Processors of them all.
        gpus: Accelerators.
    """

    machines: int
    cpus: float
    gpus: float

    def told(self) -> str:
        """In a line."""
        machines = "1 machine" if self.machines == 1 else f"{self.machines} machines"
        return f"{machines}, {self.cpus:g} CPUs, {self.gpus:g} GPUs"


@contextmanager
def connected(address: str | None, workers: int, needs: Needs) -> Iterator[Room]:
    """A connection to a cluster, given back at the end.

    A connection that the process has already is used and stays.

    Args:
        address: HOST:PORT of a cluster that this machine is part of, or "auto" for the one that
            runs here; None begins one on this machine, which ends with the connection.
        workers: That will be asked for.
        needs: Of each.

    Yields:
        What there is.

    Raises:
        InputError: There is no such cluster, or this machine is too small.
        ExecutorError: Ray was imported before, in a way that lets others reach it.
    """
    for name, value in (SILENT if address is not None else LOOPBACK).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield _room(ray)
        return
    settings: dict[str, Any] = {"address": address}
    if address is None:
        settings = {
            "address": "local",
            "num_cpus": max(os.cpu_count() or 1, ceil(workers * needs.cpus)),
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_node_ip_address": _HERE,
        }
    elif address.startswith("ray://"):
        raise InputError(
            "takes HOST:PORT: run the command on a machine of the cluster", field="--address"
        )
    try:
        ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        told = str(error).split("\n", maxsplit=1)[0]
        raise InputError(f"no cluster of Ray there: {told}", field="--address") from error
    try:
        if address is None:
            _check_here(ray, workers, needs)
        yield _room(ray)
    finally:
        ray.shutdown()


def _check_here(ray: Any, workers: int, needs: Needs) -> None:
    """Looks at a cluster that was begun here.

    Raises:
        InputError: It has too few accelerators.
        ExecutorError: Others can reach it.
    """
    if {node["NodeManagerAddress"] for node in ray.nodes()} != {_HERE}:
        raise ExecutorError("Ray listens beyond this machine: import it later, or begin it first")
    gpus, wanted = _room(ray).gpus, workers * needs.gpus
    if wanted > gpus:
        raise InputError(
            f"{workers} workers of {needs.gpus:g} GPUs need {wanted:g}, this machine has {gpus:g}",
            field="--workers",
        )


def hiring(build: Build, configs: Sequence[Any], needs: Needs) -> Callable[[], RayWorker]:
    """What begins a worker of the cluster that this process is connected to.

    Args:
        build: Makes a worker's models.
        configs: Of what; they travel, the models do not.
        needs: Of each worker.
    """
    import ray

    # A worker that ends is replaced here, where it is known what it was doing.
    actor = ray.remote(Bench).options(
        num_cpus=needs.cpus,
        num_gpus=needs.gpus,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy="SPREAD",
    )
    return lambda: RayWorker(ray, actor.remote(build, tuple(configs)))


class RayWorker:
    """An actor that holds a `Bench`.

    Args:
        ray: The library, connected.
        actor: Handle of the actor, which need not be there yet.
    """

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor

    async def prepare(self) -> Prepared | Refusal:
        """Waits for a place on the cluster, and for the models.

        Raises:
            WorkerLostError: It ended before.
        """
        prepared: Prepared | Refusal = await self._of(self._actor.prepare.remote())
        return prepared

    async def run(self, job: Job) -> Any:
        """What comes of a job, or a `Refusal`.

        Raises:
            WorkerLostError: The process or its machine is gone, or cannot be reached.
        """
        return await self._of(self._actor.run.remote(job))

    def dismiss(self) -> None:
        """Ends the process."""
        with suppress(Exception):
            self._ray.kill(self._actor)

    async def _of(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return await reference
        except errors.RayTaskError as error:
            return Refusal("defect", _brief(error))
        except errors.RayError as error:
            raise WorkerLostError(_brief(error)) from error


def _brief(error: Exception) -> str:
    """What Ray says of the reason, without its advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1] if lines else type(error).__name__
    reason = said.rpartition(_DETAIL)[2].partition(" Some common causes")[0]
    return reason.strip()[:200]


def _room(ray: Any) -> Room:
    found = ray.cluster_resources()
    alive = sum(bool(node["Alive"]) for node in ray.nodes())
    return Room(alive, found.get("CPU", 0.0), found.get("GPU", 0.0))
