# SPDX-License-Identifier: Apache-2.0
"""The programs that are written to and read from, each over a storage in another language."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest

import native
from processes import wait_until
from prometheus import Prometheus, http_get

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PRA_BUILD_DIR", ROOT / "build" / "asan"))
PRA = BUILD / "bin" / "pra"
LISTEN = "127.0.0.1:9201"  # where an example listens if it is not told


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

    def __init__(self, processes, workdir, program="prometheus"):
        super().__init__(processes, workdir, "receiver", {},
                         ["--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage"], program)

    def stop(self):
        assert self.process.stop() == 0


def _serve(storage, needs=PRA):
    def make(processes, workdir):
        if not needs.exists():
            lacking(f"{needs} is not built")
        return Receiver(processes, workdir, "receiver", lambda listen: [
            PRA, "serve", f"--storage={storage(workdir)}", f"--web.listen-address={listen}"])
    return make


def _script(language):
    """The example as it stands, on another port."""
    def make(processes, workdir):
        interpreter, example = script(language)
        copy = pathlib.Path(workdir) / example.name

        def argv(listen):
            copy.write_text(example.read_text().replace(LISTEN, listen))
            return [interpreter, copy, listen]
        return Receiver(processes, workdir, "receiver", argv, env=interpreter_env())
    return make


def script(language):
    """(interpreter, example) of a language whose package is built."""
    interpreter, suffix, module = {
        "python": ("/usr/bin/python3", "py", "python/prom_remote_api/_pra.*so"),
        "lua": ("/usr/bin/lua5.4", "lua", "lua/5.4/prom_remote_api/core.so"),
    }[language]
    if not list(BUILD.glob(module)):
        lacking(f"the {language} package is not built ({BUILD / module})")
    return interpreter, ROOT / language / "examples" / f"memory_backend.{suffix}"


def moody(language, mood, processes, workdir):
    """A storage of tests/e2e/storages that refuses its first writes."""
    interpreter, example = script(language)
    path = pathlib.Path(__file__).parent / "storages" / f"moody{example.suffix}"
    return Receiver(processes, workdir, "receiver", lambda listen: [interpreter, path, listen, mood],
                    env=interpreter_env())


def cache(name):
    """A setting of the build."""
    text = (BUILD / "CMakeCache.txt").read_text()
    match = re.search(rf"^{name}:\w+=(.*)$", text, re.M)
    return match[1] if match else ""


def interpreter_env():
    """What an interpreter needs to load our packages from the build tree."""
    env = {"PYTHONPATH": BUILD / "python", "PYTHONDONTWRITEBYTECODE": "1",
           "LUA_PATH": f"{BUILD}/lua/share/?.lua;{BUILD}/lua/share/?/init.lua;;",
           "LUA_CPATH": f"{BUILD}/lua/5.4/?.so;;"}
    if "address" in cache("PRA_SANITIZE"):
        # The interpreter has loaded neither the sanitizer nor the C++ library it watches, and
        # leaves memory to the end of the process.
        paths = [subprocess.run([cache("CMAKE_C_COMPILER"), f"-print-file-name={name}"],
                                check=True, capture_output=True, text=True).stdout.strip()
                 for name in ("libasan.so", "libstdc++.so")]
        env |= {"LD_PRELOAD": " ".join(paths), "ASAN_OPTIONS": "detect_leaks=0"}
    return env


def _histograms_in_python(processes, workdir):
    interpreter, _ = script("python")
    example = ROOT / "python" / "examples" / "histograms_backend.py"
    return Receiver(processes, workdir, "receiver", lambda listen: [interpreter, example, listen],
                    env=interpreter_env())


class BundledReceiver(Receiver):
    """A storage of prom_remote_api.storages; relays have the one in memory behind them."""

    def __init__(self, processes, workdir, name, host):
        script("python")  # is it built?
        self._upstream = None
        if name == "relay":
            self._upstream = Receiver(processes, workdir, "upstream", _bundled("memory", "serve"),
                                      env=interpreter_env())
        more = [self._upstream.url] if self._upstream else []
        super().__init__(processes, workdir, "receiver",
                         lambda listen: [*_bundled(name, host)(listen), *more], env=interpreter_env())
        self.exemplars = name != "parquet"

    def stop(self):
        super().stop()
        if self._upstream:
            self._upstream.stop()


def _bundled(name, host):
    path = pathlib.Path(__file__).parent / "storages" / "bundled.py"
    return lambda listen: [sys.executable, path, name, host, listen]


class RedisServer:
    """A Redis on loopback, its data in workdir."""

    def __init__(self, processes, workdir):
        program = shutil.which("redis-server", path=f"{ROOT}/build/tools/usr/bin:{os.environ['PATH']}")
        if not program:
            lacking("no redis-server; ./dev unpack gets it")
        # Bound and not listened on, it is nobody else's; Redis may bind it beside us, again too.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port = self._reserved.getsockname()[1]
        self._starts = 0
        self._processes, self._workdir, self._argv = processes, workdir, [
            program, "--bind", "127.0.0.1", "--port", self.port, "--dir", workdir, "--save", "",
            "--appendonly", "yes", "--appendfsync", "always"]
        self.start()

    def start(self):
        """Starts it; again on the same port, with its data, if it ran before."""
        self._process = self._processes.start("redis", self._argv, cwd=self._workdir)
        self._starts += 1  # it listens before it has read its data, and answers LOADING until then
        wait_until(lambda: self._process.text().count("Ready to accept connections") == self._starts,
                   "Redis has its data", self._process)

    def kill(self):
        self._process.kill()

    def stop(self):
        self._process.stop()


class LuaReceiver(Receiver):
    """A storage of prom_remote_api.storages in Lua, in `pra serve` or in an interpreter."""

    def __init__(self, processes, workdir, storage, host, name="receiver"):
        interpreter, _ = script("lua")
        path = pathlib.Path(__file__).parent / "storages" / "bundled.lua"
        env = {"STORAGE": storage} | (interpreter_env() if host == "serve" else {})
        self._behind = None
        if storage == "relay":
            self._behind = LuaReceiver(processes, workdir, "memory", host, "upstream")
        elif storage == "redis":
            self._behind = RedisServer(processes, workdir)
        if self._behind:
            env["BEHIND"] = self._behind.port

        def argv(listen):
            env["LISTEN"] = listen
            if host == "serve":
                return [interpreter, path]
            return [PRA, "serve", f"--storage=lua:{path}", f"--web.listen-address={listen}"]
        super().__init__(processes, workdir, name, argv, env)

    def stop(self):
        super().stop()
        if self._behind:
            self._behind.stop()


LUA_STORAGES = {f"lua_{name}_{host}": (name, host) for host in ("serve", "pra")
                for name in ("memory", "sqlite", "redis", "relay")}


def _nginx(processes, workdir):
    """The backend in Lua inside nginx, as its example has it."""
    sys.path.append(str(ROOT / "tests" / "nginx"))
    from nginx import Nginx, example
    return Nginx(processes, workdir, example("backend"))


BUNDLED = {f"{name}_{host}": (name, host) for host in ("serve", "uvicorn")
           for name in ("memory", "sqlite", "duckdb", "parquet", "fanout", "relay")}
RECEIVERS = {
    "prometheus": PrometheusReceiver,
    "current": lambda processes, workdir: PrometheusReceiver(processes, workdir, native.PROMETHEUS),
    "sqlite": _serve(lambda workdir: f"sqlite:{workdir}/store.db"),
    "memory": _serve(lambda workdir: "memory:"),
    "python": _script("python"),
    "lua": _script("lua"),
    "serve_lua": _serve(lambda workdir: f"lua:{ROOT}/lua/examples/memory_backend.lua",
                        BUILD / "lua" / "5.4" / "prom_remote_api" / "core.so"),
    "python_histograms": _histograms_in_python,
    "lua_histograms": _serve(lambda workdir: f"lua:{ROOT}/lua/examples/histograms_backend.lua",
                             BUILD / "lua" / "5.4" / "prom_remote_api" / "core.so"),
    "nginx": _nginx,
    **{key: lambda processes, workdir, of=of: BundledReceiver(processes, workdir, *of)
       for key, of in BUNDLED.items()},
    **{key: lambda processes, workdir, of=of: LuaReceiver(processes, workdir, *of)
       for key, of in LUA_STORAGES.items()},
}
