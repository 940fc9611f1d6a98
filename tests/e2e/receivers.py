# SPDX-License-Identifier: Apache-2.0
"""The programs that are written to and read from, each over a storage in another language."""

import os
import pathlib
import shutil

import pytest

from processes import wait_until
from prometheus import Prometheus, http_get

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PRA_BUILD_DIR", ROOT / "build" / "asan"))
PRA = BUILD / "bin" / "pra"
PYTHON = os.environ.get("PRA_PYTHON", shutil.which("python3"))
LUA = os.environ.get("PRA_LUA", shutil.which("lua5.4") or "lua5.4")


def lacking(reason):
    """Ends the test: skipped, or failed where everything is expected to be built."""
    if os.environ.get("PRA_E2E_ALL"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Receiver:
    """A receiver program. argv(listen) gives its command line."""

    def __init__(self, processes, workdir, name, argv, env=None):
        self._processes, self._workdir, self._name = processes, workdir, name
        self._argv, self._env = argv, env
        self.port = 0
        self.start()

    def start(self):
        """Starts it; again on the same port, if it ran before."""
        self.process = self._processes.start(
            self._name, self._argv(f"127.0.0.1:{self.port}"), cwd=self._workdir, env=self._env)
        self.port = self.process.port()
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self):
        self.process.kill()

    def stop(self):
        """Stops it as an operator does; it has to end well."""
        code = self.process.stop()
        assert code == 0, f"exit code {code} after SIGTERM\n{self.process.tail()}"


class PrometheusReceiver(Prometheus):
    """The control: what the tests expect, they expect of Prometheus itself too."""

    def __init__(self, processes, workdir):
        super().__init__(processes, workdir, "receiver", {},
                         ["--web.enable-remote-write-receiver"])

    def stop(self):
        assert self.process.stop() == 0


def _serve(storage):
    def make(processes, workdir):
        if not PRA.exists():
            lacking(f"{PRA} is not built")
        return Receiver(processes, workdir, "receiver", lambda listen: [
            PRA, "serve", f"--storage={storage(workdir)}", f"--web.listen-address={listen}"])
    return make


def _script(interpreter, script, environment_name):
    def make(processes, workdir):
        path = ROOT / script
        if not path.exists():
            lacking(f"{script} is not there")
        if environment_name not in os.environ:
            lacking(f"not built ({environment_name} is not set; ctest sets it)")
        return Receiver(processes, workdir, "receiver",
                        lambda listen: [interpreter, path, listen], env=interpreter_env())
    return make


def interpreter_env():
    """What an interpreter needs to load our library from the build tree."""
    preload = os.environ.get("PRA_PRELOAD")  # the sanitizer's run-time library
    return {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"} if preload else {}


RECEIVERS = {
    "prometheus": PrometheusReceiver,
    "sqlite": _serve(lambda workdir: f"sqlite:{workdir}/store.db"),
    "memory": _serve(lambda workdir: "memory:"),
    "python": _script(PYTHON, "python/examples/memory_backend.py", "PYTHONPATH"),
    "lua": _script(LUA, "lua/examples/memory_backend.lua", "LUA_CPATH_5_4"),
    "serve_lua": _serve(lambda workdir: f"lua:{ROOT}/lua/examples/memory_backend.lua"),
}
