"""`pip install .` from a clean copy into a fresh environment, and an example run with the result."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {
    name: value
    for name, value in os.environ.items()
    if name not in ("LD_PRELOAD", "ASAN_OPTIONS") and not name.startswith("PYTHON")
}


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout
    return result.stdout


def copy_sources(target: Path) -> None:
    """What a clone has; the folders that a build of the package takes no part of stay behind."""
    for name in ("CMakeLists.txt", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target / name)
    for name in ("core", "proto", "bindings", "python", "tests/CMakeLists.txt"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))


@pytest.mark.slow
@pytest.mark.parametrize("python", ["/usr/bin/python3"])
def test_pip_install(tmp_path: Path, python: str) -> None:
    if not os.access(python, os.X_OK):
        python = sys.executable
    sources = tmp_path / "clone"
    sources.mkdir()
    copy_sources(sources)
    run(python, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    fresh = tmp_path / "venv" / "bin" / "python"
    run(fresh, "-m", "pip", "install", "--disable-pip-version-check", ".", cwd=sources)
    assert not list(sources.glob("build*")), "nothing is left in the sources"

    shutil.copytree(sources / "python" / "examples", tmp_path / "examples")
    program = (
        "import prom_remote_api, sys; from memory_backend import Memory;"
        "server = prom_remote_api.Server(Memory(), '127.0.0.1:0');"
        "server.start(); server.stop(); print(prom_remote_api.__file__)"
    )
    where = run(fresh, "-c", program, cwd=tmp_path / "examples").strip()
    package = Path(where).parent
    assert package.is_relative_to(tmp_path / "venv")
    assert {"py.typed", "_pra.pyi", "pra.py"} <= {path.name for path in package.iterdir()}
    installed = {path.name for path in package.parent.iterdir()}
    assert not installed & {"include", "lib", "examples", "pra"}
