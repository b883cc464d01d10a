"""How Ray is begun and asked, by a stand-in for it; a real one is in tests/e2e/test_ray.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from vilbench import config
from vilbench.config import staffing
from vilbench.config.staff import ExecutorConfig
from vilbench.errors import ExecutorError, InputError
from vilbench.executors.bench import Bench, Job, Prepared, Refusal
from vilbench.executors.cluster import LOOPBACK, SILENT, Needs, RayWorker, connected, hiring
from vilbench.executors.pool import WorkerLostError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class StandIn:
    """As much of Ray as is used: notes what it is asked."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []
        self.ended = 0
        self.initialized = False
        self.error: Exception | None = None
        self.addresses = ["127.0.0.1"]
        self.resources = {"CPU": 4.0, "GPU": 2.0}
        self.killed: list[Any] = []
        self.options: dict[str, Any] = {}
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def is_initialized(self) -> bool:
        return self.initialized

    def init(self, **settings: Any) -> None:
        self.begun.append(settings)
        if self.error is not None:
            raise self.error

    def shutdown(self) -> None:
        self.ended += 1

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeManagerAddress": one, "Alive": True} for one in self.addresses]

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)
        raise RayError("it is gone")

    def remote(self, kind: Any) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=lambda *arguments: (kind, *arguments))

        return SimpleNamespace(options=options)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn()
    monkeypatch.setitem(sys.modules, "ray", made)
    for name in LOOPBACK:
        monkeypatch.setenv(name, "")  # given back at the end
        monkeypatch.delenv(name)
    return made


def test_a_cluster_of_its_own_is_on_the_loopback_under_a_token_of_its_own(ray: StandIn) -> None:
    with connected(None, 3, Needs(cpus=40)) as room:
        assert room.told() == "1 machine, 4 CPUs, 2 GPUs"
        (settings,) = ray.begun
        assert settings["address"] == "local"
        assert settings["_node_ip_address"] == "127.0.0.1"
        assert settings["include_dashboard"] is False
        assert settings["log_to_driver"] is False
        assert settings["num_cpus"] == 120
        assert {name: os.environ[name] for name in LOOPBACK} == LOOPBACK
        assert len(LOOPBACK["RAY_AUTH_TOKEN"]) == 64
        assert ray.ended == 0
    assert ray.ended == 1


def test_a_cluster_that_is_there_is_taken_as_it_is(ray: StandIn) -> None:
    ray.addresses = ["10.0.0.1", "10.0.0.2"]
    with connected("10.0.0.1:6379", 99, Needs(gpus=1)) as room:
        assert room.machines == 2
    (settings,) = ray.begun
    assert settings["address"] == "10.0.0.1:6379"
    assert "_node_ip_address" not in settings
    assert {name for name in LOOPBACK if name in os.environ} == set(SILENT)
    assert ray.ended == 1


def test_what_the_user_has_set_stays(ray: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RAY_AUTH_TOKEN"
    monkeypatch.setenv(name, "mine")
    with connected(None, 1, Needs()):
        assert os.environ[name] == "mine"


def test_a_connection_that_is_there_is_used_and_stays(ray: StandIn) -> None:
    ray.initialized = True
    with connected("elsewhere:1", 1, Needs()):
        pass
    assert (ray.begun, ray.ended) == ([], 0)


@pytest.mark.parametrize(
    "error", [ConnectionError("nobody\nand more"), ValueError("nobody"), RuntimeError("nobody")]
)
def test_a_wrong_address_is_unusable_input(ray: StandIn, error: Exception) -> None:
    ray.error = error
    with (
        pytest.raises(InputError, match=r"'--address': no cluster of Ray there: nobody$"),
        connected("10.0.0.1:6379", 1, Needs()),
    ):
        pass


def test_the_protocol_of_ray_clients_is_refused(ray: StandIn) -> None:
    with pytest.raises(InputError, match="HOST:PORT"), connected("ray://host:1", 1, Needs()):
        pass
    assert ray.begun == []


def test_a_machine_that_is_too_small_is_refused(ray: StandIn) -> None:
    with (
        pytest.raises(InputError, match="3 workers of 1 GPUs need 3, this machine has 2"),
        connected(None, 3, Needs(gpus=1)),
    ):
        pass
    assert ray.ended == 1


def test_a_cluster_of_its_own_that_others_reach_is_ended(ray: StandIn) -> None:
    ray.addresses = ["192.0.2.1"]
    with pytest.raises(ExecutorError, match="beyond this machine"), connected(None, 1, Needs()):
        pass
    assert ray.ended == 1


def build(configs: Sequence[Any]) -> list[Any]:
    return list(configs)


def test_configurations_travel_and_needs_are_stated(ray: StandIn) -> None:
    worker = hiring(build, ["a", "b"], Needs(cpus=2, gpus=0.5))()
    assert (ray.options["num_cpus"], ray.options["num_gpus"]) == (2, 0.5)
    assert (ray.options["max_restarts"], ray.options["max_task_retries"]) == (0, 0)
    worker.dismiss()
    assert ray.killed == [(Bench, build, ("a", "b"))]


class Actor:
    """Answers as a bench, or with an error of Ray."""

    def __init__(self, answer: Any) -> None:
        self.prepare = self.run = SimpleNamespace(remote=_answering(answer))


def _answering(answer: Any) -> Callable[..., Awaitable[Any]]:
    async def remote(*given: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return remote


async def test_errors_of_ray_are_lost_workers(ray: StandIn) -> None:
    told = (
        "The actor died unexpectedly.\n\tclass_name: Bench\nWorker exit type: SYSTEM_ERROR "
        "Worker exit detail: connection error code 2. Some common causes include: (1) many."
    )
    worker = RayWorker(ray, Actor(RayError(told)))
    for call in (worker.prepare(), worker.run(Job(0, "score"))):
        with pytest.raises(WorkerLostError, match=r"^connection error code 2\.$"):
            await call
    with pytest.raises(WorkerLostError, match=r"^RayError$"):
        await RayWorker(ray, Actor(RayError())).prepare()


async def test_an_answer_that_cannot_travel_is_a_defect(ray: StandIn) -> None:
    worker = RayWorker(ray, Actor(RayTaskError("TypeError: cannot pickle it")))
    given = await worker.run(Job(0, "score"))
    assert given == Refusal("defect", "TypeError: cannot pickle it")


async def test_answers_come_as_they_are(ray: StandIn) -> None:
    prepared = Prepared("1", ())
    assert await RayWorker(ray, Actor(prepared)).prepare() == prepared
    assert await RayWorker(ray, Actor([1, 2])).run(Job(0, "score")) == [1, 2]


async def test_gpus_that_nobody_uses_are_told(
    ray: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object, **__: object) -> None:
        raise ExecutorError("as far as this test goes")

    monkeypatch.setattr(staffing, "Pool", no_more)
    said: list[str] = []
    for executor in (ExecutorConfig(), ExecutorConfig(gpus=1)):
        with pytest.raises(ExecutorError, match="as far"):
            async with staffing.staffed(executor, config.load("embedded"), say=said.append):
                pass
    first, notice, second = said
    assert first == second == "ray: 1 machine, 4 CPUs, 2 GPUs; workers wanted: 1"
    assert "--per-worker gpus=1" in notice
