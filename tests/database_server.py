"""A PostgreSQL server of its own for tests: on a port of loopback, in a folder that goes with it, with a password.

with Server() as server:
    server.url             postgresql://nezha:...@127.0.0.1:43211/postgres
    server.stop()          it is gone
    server.start()         it is back
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

PROGRAMS = next((path.parent for path in (*Path("/usr/lib/postgresql").glob("*/bin/initdb"), Path("/usr/bin/initdb"))
                 if path.exists()), None)  # fmt: skip
"""Where initdb and pg_ctl are; None: there is no server on this machine. Debian has them on no path."""
USER, PASSWORD = "nezha", "ge@heim/2026%"


class Server:
    """A server, from initdb to the removal of its files."""

    def __init__(self) -> None:
        assert PROGRAMS
        self.folder = Path(tempfile.mkdtemp(prefix="nezha-postgres-"))
        # Not for root: then as nobody.
        self._as: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.getuid() == 0 else {}
        (self.folder / "password").write_text(PASSWORD)
        if self._as:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "--auth=scram-sha-256", f"--username={USER}", "--pwfile=password", "--no-sync", "--pgdata=data")

    @property
    def url(self) -> str:
        return self.url_with(PASSWORD)

    def url_with(self, password: str, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "start", "--wait", "--pgdata=data", "--log=log", f"--options={options}")

    def stop(self) -> None:
        """Stop it as a machine that loses power."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate", "--pgdata=data")

    def query(self, text: str) -> list[Any]:
        """Return the rows of a statement."""
        import sqlalchemy

        url = sqlalchemy.make_url(self.url).set(drivername="postgresql+psycopg2")
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.pool.NullPool)
        with engine.connect() as connection:
            done = connection.execute(sqlalchemy.text(text))
            return list(done) if done.returns_rows else []

    def _run(self, program: str, *arguments: str) -> None:
        assert PROGRAMS
        command = [str(PROGRAMS / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, timeout=120, **self._as)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)
