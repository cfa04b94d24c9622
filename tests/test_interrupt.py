"""Signals to a training: the first is noted, the second ends it at once, with its own word and status."""

import os
import signal

import pytest

import train.cli
from contract.command import run_command
from train.interrupt import Interruption


@pytest.mark.parametrize(
    ("second", "status"), [(signal.SIGTERM, (143, "terminated\n")), (signal.SIGINT, (130, "interrupted\n"))]
)
def test_second_signal_stops_at_once_and_its_status_says_which(
    second: signal.Signals,
    status: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped_twice() -> None:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            assert interruption.signum == signal.SIGTERM
            os.kill(os.getpid(), second)
            pytest.fail("goes on")

    monkeypatch.setattr(train.cli, "main", stopped_twice)
    with pytest.raises(SystemExit) as end:
        run_command("train.cli")
    assert (end.value.code, capsys.readouterr().err) == status
