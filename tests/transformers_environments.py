"""Environments with other releases of transformers, and the programs that fit them.

    python("4.46")      [".venv-transformers/4.46/bin/python"], a command

Each is created once, next to this checkout's environment, and shares its torch and numpy. Skips where no package
index is in reach.
"""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / ".venv-transformers"
COMMON = ("joblib==1.6.0", "threadpoolctl==3.7.0", "scikit-learn==1.6.1")
PINS = {
    "4.46": (
        "transformers==4.46.3",
        "tokenizers==0.20.3",
        "huggingface_hub==0.36.2",
        "sentence-transformers==3.3.1",
        "accelerate==1.1.1",
    ),
    "4.57": (
        "transformers==4.57.6",
        "tokenizers==0.22.2",
        "huggingface_hub==0.36.2",
        "sentence-transformers==5.2.0",
        "accelerate==1.12.0",
    ),
    "5.23": (
        "transformers==5.23.0",
        "tokenizers==0.23.3",
        "huggingface_hub==2.4.0",
        "sentence-transformers==6.0.1",
        "accelerate==1.15.0",
    ),
}
"""The oldest release promised, the last of the fourth, and the newest; each with the other programs of its time."""


def python(release: str) -> str:
    """Return the Python of the environment with a release of transformers."""
    folder = FOLDER / release
    installed, pins = folder / "installed.txt", "\n".join((*COMMON, *PINS[release]))
    if not (installed.exists() and installed.read_text() == pins):
        folder.parent.mkdir(exist_ok=True)
        executable = str(folder / "bin" / "python")
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [
                executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                *COMMON,
                *PINS[release],
            ],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no environment with transformers {release}: {done.stderr.strip().splitlines()[-1]}")
        ours = Path(pytest.__file__).parents[1]
        (next(folder.glob("lib/python*/site-packages")) / "shared.pth").write_text(f"{ours}\n")
        installed.write_text(pins)  # last: everything is installed
    return str(folder / "bin" / "python")
