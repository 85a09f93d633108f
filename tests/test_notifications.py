"""Who is told what became of a run: real commands and a real web server; nothing that goes wrong there ends a run."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pipeline.errors import RecipeError, UserError
from workflows import recipe
from workflows.notifications.config import NotifyConfig
from workflows.notifications.sending import Event, failures_told, notify

EVENT = Event("failed", "tiny", "s3://me:hidden-word@bucket/run", "no key\nhttps://host/a?X-Amz-Signature=hidden-word&b=1")


class Hook:
    """A web server on loopback that refuses the first requests."""

    def __init__(self, refusals: int) -> None:
        self.bodies: list[dict[str, str]] = []
        hook, left = self, [refusals]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                left[0] -= 1
                self.send_response(503 if left[0] >= 0 else 200)
                self.end_headers()
                if left[0] < 0:
                    hook.bodies.append(json.loads(body))

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/hidden-word"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook(refusals=2)
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_url_that_refuses_at_first_is_told_once_without_secrets(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_HOOK", hook.url)
    assert notify(NotifyConfig(url="$OUR_HOOK", timeout_seconds=60), EVENT) == []
    (body,) = hook.bodies
    assert body["event"] == "failed" and body["text"].startswith("tiny: failed: no key ")
    assert "hidden-word" not in json.dumps(body) and "\n" not in body["text"]


def test_a_command_gets_the_event_and_is_tried_again(tmp_path: Path) -> None:
    program = (
        "import json, os, pathlib, sys\n"
        "tries, told = pathlib.Path(sys.argv[1], 'tries'), pathlib.Path(sys.argv[1], 'told')\n"
        "tries.write_text(tries.read_text() + 'x' if tries.exists() else 'x')\n"
        "if len(tries.read_text()) < 3: sys.exit('not yet')\n"
        "names = ('NEZHA_PIPE_EVENT', 'NEZHA_PIPE_MESSAGE')\n"
        "told.write_text(json.dumps([json.load(sys.stdin), *map(os.environ.get, names)]))\n"
    )
    config = NotifyConfig(command=(sys.executable, "-c", program, str(tmp_path)), timeout_seconds=120)
    assert notify(config, Event("promoted", "tiny", "runs/tiny", "tiny-1: promoted")) == []
    body, name, message = json.loads((tmp_path / "told").read_text())
    assert (tmp_path / "tries").read_text() == "xxx"
    assert body["event"] == name == "promoted" and message == body["text"]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (NotifyConfig(command=("false",), timeout_seconds=0.1), "command false: failed of tiny was not told: exit code 1"),
        (NotifyConfig(command=("/no/such",), timeout_seconds=0.1), "No such file"),
        (NotifyConfig(url="$NOT_SET_ANYWHERE", timeout_seconds=3_600), "variable $NOT_SET_ANYWHERE is not set"),
        (NotifyConfig(url="http://127.0.0.1:1/services/hidden-word", timeout_seconds=0.1), "url http://127.0.0.1:1/..."),
    ],
)
def test_what_cannot_be_told_is_one_line_and_stops_nothing(config: NotifyConfig, reason: str) -> None:
    (problem,) = notify(config, EVENT)
    assert reason in problem and "hidden-word" not in problem and "\n" not in problem


def test_a_failure_is_told_and_raised_and_ctrl_c_is_none(tmp_path: Path) -> None:
    told = tmp_path / "told"
    config = NotifyConfig(command=("sh", "-c", f"cat >> {told}"))
    with pytest.raises(UserError, match="no room"), failures_told(config, "tiny", "runs/tiny"):
        raise UserError("no room")
    with pytest.raises(KeyboardInterrupt), failures_told(config, "tiny", "runs/tiny"):
        raise KeyboardInterrupt
    assert json.loads(told.read_text())["message"] == "no room"


def test_a_wrong_table_is_one_line() -> None:
    with pytest.raises(RecipeError, match=r"notify: url 'ftp://x' is neither"):
        recipe.load("tiny", ["notify.url=ftp://x"])
    assert recipe.load("tiny", ['notify.command=["true"]']).notify.command == ("true",)
