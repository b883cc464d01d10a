"""Ctrl-C while models are at work."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from vilbench.cli.stopping import halted_by_interrupts

TOLD = "stopping: what is under way is finished and stored; Ctrl-C again ends at once"


async def test_the_first_is_told_at_once_and_what_is_under_way_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    finished = False
    with pytest.raises(KeyboardInterrupt), halted_by_interrupts() as halt:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)
        assert halt.asked
        assert TOLD in capsys.readouterr().err
        finished = True
    assert finished


async def test_the_second_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), halted_by_interrupts():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)
    assert capsys.readouterr().err.count(TOLD) == 1
