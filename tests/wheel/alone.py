"""With nothing but the wheel and the standard library: the package, the examples, a backend that serves."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import prom_remote_api

EXAMPLES = Path(__file__).resolve().parents[2] / "python" / "examples"


def main() -> None:
    assert Path(prom_remote_api.__file__).is_relative_to(sys.prefix), prom_remote_api.__file__
    for module in pkgutil.walk_packages(prom_remote_api.__path__, "prom_remote_api."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:  # a storage that needs other packages, and says which
            assert ".storages." in module.name and "pyarrow" in str(error), error
    sys.path.insert(0, str(EXAMPLES))
    for example in EXAMPLES.glob("*.py"):
        importlib.import_module(example.stem)

    command: list[str | Path] = [sys.executable, "-u", EXAMPLES / "memory_backend.py", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as backend:
        assert backend.stdout
        try:
            address = next(found[0] for line in backend.stdout if (found := re.search(r"http://[\d.:]+", line)))
            with urllib.request.urlopen(f"{address}/-/healthy") as answer:
                assert answer.status == 200
        finally:
            backend.terminate()
    print("prom_remote_api", prom_remote_api.__version__, "alone: serves", *os.uname()[:1], sys.version.split()[0])


if __name__ == "__main__":
    main()
