"""Uploads against a hub on this machine: what arrives, and what a refusal is told as."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from publish_data import run_with_results
from upload_hub import READ_ONLY, TOKEN, Uploads, uploads

from vilbench.errors import InputError
from vilbench.publish import hub
from vilbench.publish.hub import Target, upload
from vilbench.publish.publication import Entry, Publication, card_entry


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is on this machine, whatever proxy the environment names."""
    monkeypatch.setenv("no_proxy", "*")


def publication(tmp_path: Path, **changes: object) -> Publication:
    file = tmp_path / "weights"
    file.write_bytes(b"w" * 1000)
    entries = (card_entry("# A card\n"), Entry("data/x.json", b"{}"), Entry("m.st", file))
    given = {"repo_type": "dataset", "what": "it", "entries": entries, "left_out": ()}
    return Publication(**{**given, "remarks": (), "message": "it 1", **changes})  # type: ignore[arg-type]


def account(server: Uploads, token: str | bool = TOKEN) -> HfApi:
    return HfApi(endpoint=server.url, token=token)


def test_one_commit_of_all_files_in_a_private_repository(tmp_path: Path) -> None:
    with uploads() as server:
        made = publication(tmp_path)
        url = upload(made, Target("me/it"), account(server))
        upload(made, Target("me/it"), account(server))
    assert url == f"{server.url}/me/it/commit/{'1' * 40}"
    asked = server.repositories["me/it"]
    assert asked["type"] == "dataset"
    assert asked.get("private") is True or asked.get("visibility") == "private"
    assert server.commits == ["it 1", "it 1"]
    assert server.of("me/it") == {
        "README.md": b"# A card\n",
        "data/x.json": b"{}",
        "m.st": b"w" * 1000,
    }


def test_a_public_model_on_a_branch(tmp_path: Path) -> None:
    with uploads() as server:
        made = publication(tmp_path, repo_type="model")
        upload(made, Target("me/it", private=False, revision="v2"), account(server))
    asked = server.repositories["me/it"]
    assert asked.get("type", "model") == "model"
    assert asked.get("private") is False or asked.get("visibility") == "public"
    assert set(server.of("me/it", "v2")) == {"README.md", "data/x.json", "m.st"}
    assert not server.of("me/it")


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("hf_" + "c" * 30, "does not accept the token, or there is none: 'hf auth login'"),
        (False, "does not accept the token, or there is none"),
        (READ_ONLY, "the token may not write there: it needs the right to write to me"),
    ],
    ids=["wrong", "none", "read-only"],
)
def test_a_token_that_will_not_do(tmp_path: Path, token: str | bool, told: str) -> None:
    with uploads() as server, pytest.raises(InputError) as refused:
        upload(publication(tmp_path), Target("me/it"), account(server, token))
    assert told in str(refused.value)
    assert str(token) not in str(refused.value)
    assert "me/it" in str(refused.value)
    assert not server.files


def test_a_repository_of_another_kind(tmp_path: Path) -> None:
    with uploads() as server:
        upload(publication(tmp_path), Target("me/it"), account(server))
        with pytest.raises(InputError, match="there is no such repository or branch"):
            upload(publication(tmp_path, repo_type="model"), Target("me/it"), account(server))


def test_a_hub_that_is_out_of_order_and_no_network(tmp_path: Path) -> None:
    with uploads() as server:
        server.broken = 418
        with pytest.raises(InputError, match="the hub answers with status 418"):
            upload(publication(tmp_path), Target("me/it"), account(server))
    nobody = HfApi(endpoint="http://127.0.0.1:9", token=TOKEN)
    with pytest.raises(InputError, match="the hub cannot be reached or the upload broke off"):
        upload(publication(tmp_path), Target("me/it"), nobody)


@pytest.mark.parametrize("by_default", [True, False])
def test_the_hub_is_reached_unless_the_user_rules_it_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_default: bool
) -> None:
    monkeypatch.setattr(hub, "OFFLINE_BY_DEFAULT", by_default)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with uploads() as server:
        if by_default:
            upload(publication(tmp_path), Target("me/it"), account(server))
        else:
            with pytest.raises(InputError, match="HF_HUB_OFFLINE rules the hub out"):
                upload(publication(tmp_path), Target("me/it"), account(server))
    assert constants.HF_HUB_OFFLINE
    assert bool(server.commits) is by_default


@pytest.mark.parametrize(
    "name", ["it", "../x", "me/..", "me/it/x", "me/", "a b/c", "me/it\n", "-/x", ""]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(InputError, match="no name such as owner/name"):
        Target(name)


def test_what_is_no_publication(tmp_path: Path) -> None:
    card = card_entry("x")
    with pytest.raises(ValueError, match="the card comes first"):
        publication(tmp_path, entries=(Entry("a", b""), card))
    with pytest.raises(ValueError, match="names of their own"):
        publication(tmp_path, entries=(card, card))
    with pytest.raises(ValueError, match="pickles and other code"):
        publication(tmp_path, entries=(card, Entry("model.PT", b"")))


def command(
    url: str, folder: Path, token: str, *arguments: object
) -> subprocess.CompletedProcess[str]:
    """`vilbench` in a process of its own: the library reads endpoint and token once."""
    environment = {
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HOME": str(folder),
        "PATH": "",
        "OMP_NUM_THREADS": "1",
        "no_proxy": "*",
    }
    program = "from vilbench.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )


def test_the_command_uploads_a_run(tmp_path: Path) -> None:
    run = run_with_results(tmp_path / "run")
    with uploads() as server:
        done = command(server.url, tmp_path, TOKEN, "export", run, "--to-hub", "me/run")
        assert done.returncode == 0, done.stderr
        assert f"uploaded: {server.url}/me/run/commit/{'1' * 40}" in done.stdout
        refused = command(server.url, tmp_path, READ_ONLY, "export", run, "--to-hub", "me/run")
    assert refused.returncode == 2
    assert "field '--to-hub': me/run: the token may not write there" in refused.stderr
    assert TOKEN not in done.stdout + done.stderr and READ_ONLY not in refused.stderr
    assert set(server.of("me/run")) == {
        *("README.md", "results.json", "data/problems.parquet", "data/results.parquet"),
        *("data/scores.parquet", "data/solutions.parquet"),
    }
    assert server.requests[0] == "POST /api/repos/create"
