"""The S3 server of tests/machines.py: moto's, with bad days, and a count of what it sends.

    python -m tests.store_server 10.64.0.2 5000

Where the file REFUSE is, every request is answered by 503. SENT, a path that no bucket has, answers with the bytes of all
answers so far.
"""

import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

REFUSE = "/tmp/store-refuses"
SENT = "/-/sent"


class Store:
    """An application of WSGI around another."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.sent = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == SENT:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(self.sent).encode()]
        if Path(REFUSE).exists():
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))  # else the connection is reset
            start_response("503 Slow Down", [("Content-Length", "0")])
            return []
        return self._counted(self.store(environ, start_response))

    def _counted(self, parts: Any) -> Iterator[bytes]:
        try:
            for part in parts:
                with self._lock:
                    self.sent += len(part)
                yield part
        finally:
            parts.close()


def main(host: str, port: int) -> None:
    """Serve until the end of the process."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    store = Store(DomainDispatcherApplication(create_backend_app))
    run_simple(host, port, store, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
