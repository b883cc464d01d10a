"""Nothing that is the user's own leaves in a text, and content stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from publish_data import SECRET, screen

from vilbench.publish.privacy import Screen

KEYS = (
    "hf_" + "x" * 34,
    "sk-proj-" + "aB3_" * 10,
    "ghp_" + "z" * 36,
    "github_pat_" + "1a" * 30,
    "AKIA" + "ABCD1234" * 2,
    "AIza" + "b" * 35,
    "xoxb-1234567890-abc",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    SECRET,
)


@pytest.mark.parametrize("key", KEYS)
def test_a_secret_is_replaced_in_data_and_in_commands(key: str) -> None:
    for clean in (screen().text, screen().told):
        cleaned = clean(f"before {key} after, and '{key}'")
        assert cleaned == "before <secret> after, and '<secret>'"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see /home/ann/papers/runs/x.png, please", "see x.png, please"),
        ("in /home/ann", "in ~"),
        ("in /home/ann/papers", "in ~"),
        ("http://ann:pass@host:8000/v1", "http://<secret>@host:8000/v1"),
    ],
)
def test_own_places_are_shortened_in_data(text: str, left: str) -> None:
    found = screen()
    assert found.text(text) == left
    assert sum(found.counts.values()) == 1
    assert len(found.summary()) == 1


@pytest.mark.parametrize(
    "text",
    [
        r"so \frac{1}{2} = 1/2 and a/b/c",
        "look in /usr/bin/env and /home/annabel/x and /other/home/ann",
        "https://huggingface.co/a/b?c=d",
        "task-sk-short and hf_hub",
        "",
    ],
)
def test_content_stays(text: str) -> None:
    found = screen()
    assert found.text(text) == text
    assert not found.counts


@pytest.mark.parametrize(
    ("command", "left"),
    [
        ("run a.yaml --out /data/b/runs --x=/tmp/y/z", "run a.yaml --out runs --x=z"),
        ("<b>x</b> and </script>", "<b>x</b> and </script>"),
        (r"--model C:\Users\ann\prm --n 3", "--model prm --n 3"),
        ("--problems ~/d.jsonl -n 3 embedded:base", "--problems d.jsonl -n 3 embedded:base"),
        ("http://h/v1?key=1 then a/b", "http://h/v1 then a/b"),
        ("/", "/"),
    ],
)
def test_a_command_keeps_the_last_part_of_a_path(command: str, left: str) -> None:
    assert screen().told(command) == left


def test_values_within_lists_and_mappings() -> None:
    given = {"a": [SECRET, 1, None, {"path": "/data/x/y"}], "b": ("/home/ann/z", True)}
    cleaned = screen().data(given)
    assert cleaned == {"a": ["<secret>", 1, None, {"path": "/data/x/y"}], "b": ["z", True]}
    assert screen().recipe(given)["a"][3] == {"path": "y"}


def test_what_is_no_secret_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token-of-mine"
    file.write_text("x")
    values = {"HF_TOKEN_PATH": str(file), "MY_KEY": "short", "LANG": "a-long-value-of-no-secret"}
    found = Screen.of(values, Path("/root"), Path("/"))
    text = f"{file} short a-long-value-of-no-secret /root/x"
    assert found.text(text) == text


@given(st.text())
def test_any_text_comes_through_twice_the_same(text: str) -> None:
    once = screen().told(text)
    assert SECRET not in once
    assert screen().text(once) == screen().text(screen().text(once))


@pytest.mark.timeout(60)
def test_hostile_texts_come_to_an_end() -> None:
    for text in ("/a", "://", "x:y@", "http://a?", "-----BEGIN ", "sk-", "~/", "C:\\a"):
        long = text * (300_000 // len(text))
        assert screen().told(long) is not None
