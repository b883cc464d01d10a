"""Who `vilbench view` serves, and what it refuses to do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from viewer_data import made

from vilbench.cli.viewing import cache_folder, serve
from vilbench.errors import InputError
from vilbench.web.listening import LEAST, LOOPBACK, bound, is_loopback, served_names


def refused(folder: Path, host: str, token: str | None) -> str:
    with pytest.raises(InputError) as error:
        serve(folder, host, 0, token, frozenset(), lambda line: None)
    return str(error.value)


ELSEWHERE = ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.evil.org", ""]  # noqa: S104


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_machines_need_a_token(tmp_path: Path, host: str) -> None:
    assert not is_loopback(host)
    assert "--token" in refused(tmp_path, host, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)


def test_a_short_token_is_refused_everywhere(tmp_path: Path) -> None:
    assert str(LEAST) in refused(tmp_path, "127.0.0.1", "x" * (LEAST - 1))
    assert str(LEAST) in refused(tmp_path, "0.0.0.0", "")  # noqa: S104


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nothing", "127.0.0.1", None)


def test_an_address_that_cannot_be_had(tmp_path: Path) -> None:
    assert "cannot listen" in refused(tmp_path, "203.0.113.1", "x" * LEAST)


def test_names_are_those_given_and_those_of_this_machine() -> None:
    assert served_names("127.0.0.1", frozenset()) == LOOPBACK
    assert served_names("10.0.0.5", frozenset({"Lab.Example"})) == LOOPBACK | {
        "10.0.0.5",
        "lab.example",
    }


def test_the_cache_lies_where_the_user_has_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vilbench" / "view"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "vilbench" / "view"


def test_a_port_in_use_is_named() -> None:
    with bound("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port.*127\.0\.0\.1:{port}.*--port 0"):
            bound("127.0.0.1", port)


def test_a_folder_without_runs_is_told_and_ctrl_c_ends_in_silence(tmp_path: Path) -> None:
    start = [sys.executable, "-c", "from vilbench.cli import main; main()"]
    process = subprocess.Popen(
        [*start, "view", str(tmp_path), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where tests run in the background SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stdout is not None
    assert f"{tmp_path} holds no run yet" in process.stdout.readline()
    assert process.stdout.readline().startswith("viewer: http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_a_folder_with_a_run_needs_no_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "run", problems=1)
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    said: list[str] = []
    serve(tmp_path, "127.0.0.1", 0, None, frozenset(), said.append)
    (line,) = said
    assert line.startswith("viewer: ")
