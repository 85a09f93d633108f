"""What a person sees while a stage runs: a bar on a terminal, lines elsewhere, and at once what happens only once."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine.execution import News
from workflows import progress
from workflows.progress import Display

ROOT = Path(__file__).parent.parent
STEP = "pretrain: step {:,} of 1,200, loss 5.310, 21,400 tokens/s"
ON_A_TERMINAL = f"""
import time
from pipeline.engine.execution import News
from workflows.progress import Display
with Display(["pretrain"]) as display:
    for step in range(300, 330):
        display.report(step, 1_200, {STEP!r}.format(step))
        time.sleep(0.05)
    display.report(329, 1_200, News("pretrain: restarting after a failure (attempt 2)"))
    time.sleep(0.5)
"""


def on_a_terminal(program: str, columns: int) -> str:
    """What a program writes to a terminal of so many columns, without escape sequences."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = subprocess.Popen([sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 65_536):
            written += data
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0, written.decode()
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written.decode())


@pytest.mark.parametrize("columns", [80, 120])
def test_a_bar_has_step_loss_speed_and_time_left_and_news_stay_above_it(columns: int) -> None:
    shown = on_a_terminal(ON_A_TERMINAL, columns)
    bars = [line for line in re.split(r"[\r\n]+", shown) if "step 329 of 1,200" in line]
    assert any(re.search(r"step 329 of 1,200, loss 5\.310, 21,400 tokens/s.* 27 % +0:0\d:\d\d", bar) for bar in bars), shown
    assert re.search(r"(^|[\r\n])pretrain: restarting after a failure \(attempt 2\) *[\r\n]", shown), shown


def test_elsewhere_a_line_has_the_same_now_and_then_and_news_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Display(["pretrain"]) as display:
        display.report(300, 1_200, STEP.format(300))
        display.report(300, 1_200, News("pretrain: restarting after a failure (attempt 2)"))
        for step in range(301, 310):
            display.report(step, 1_200, STEP.format(step))
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
        display.report(310, 1_200, STEP.format(310))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "pretrain: restarting after a failure (attempt 2)"
    assert re.fullmatch(r"\[ 1/1\] pretrain: step 310 of 1,200, loss 5\.310, 21,400 tokens/s \(25 %, \S+( s)? left\)", second)
