# SPDX-License-Identifier: Apache-2.0
"""A real nginx with Lua on 127.0.0.1, from the build tree, for tests."""

import http.client
import os
import pathlib
import re
import shutil
import signal
import socket

from processes import SANITIZER, wait_until
from receivers import BUILD, ROOT, interpreter_env, lacking

_SEVERE = re.compile(r"\[(error|crit|alert|emerg)\]")

_MAIN = """
daemon off;
{user}
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 512; }}
http {{
  lua_package_path "{path}";
  lua_package_cpath "{cpath}";
  access_log {dir}/access.log;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  {http}
}}
"""


def _installation():
    """(program, folder of modules, folder of Lua files, folders of libraries) of an nginx with Lua."""
    ours = ROOT / "build" / "tools" / "usr" / "sbin" / "nginx"
    program = ours if ours.exists() else shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    prefix = pathlib.Path(program or "/nonexistent/sbin/nginx").parents[1]
    modules = prefix / "lib" / "nginx" / "modules"
    if not (modules / "ngx_http_lua_module.so").exists():
        lacking("no nginx with Lua; ./dev unpack gets it")
    libraries = sorted(prefix.glob("lib/*-linux-gnu*")) if program == ours else []
    return program, modules, prefix / "share" / "lua" / "5.1", libraries


def example(name, *upstreams):
    """lua/examples/nginx/name.conf, with ports to be chosen, and with upstreams (ports) of the test's."""
    text = (ROOT / "lua" / "examples" / "nginx" / f"{name}.conf").read_text()
    for i, port in enumerate(upstreams):
        text = text.replace(f"127.0.0.1:{9201 + i}", f"127.0.0.1:{port}")
    assert "listen 127.0.0.1:9210;" in text
    return text.replace("127.0.0.1:9210", "127.0.0.1:PORT")


class Nginx:
    """nginx with what stands in http {}; PORT and PORT2 … in it become ports that are free."""

    def __init__(self, processes, workdir, http, workers=1):
        program, modules, lua, libraries = _installation()
        self.dir = pathlib.Path(workdir) / "nginx"
        self.dir.mkdir(exist_ok=True)
        self._excused = []  # patterns of lines that are expected
        # nginx takes over sockets that listen already (and do not block), so the kernel can choose
        # their ports.
        sockets = {name: socket.create_server(("127.0.0.1", 0), backlog=511)
                   for name in sorted(set(re.findall(r"\bPORT\d?\b", http)))}
        for one in sockets.values():
            one.setblocking(False)
        ports = {name: one.getsockname()[1] for name, one in sockets.items()}
        self.port = ports["PORT"]
        self.url = f"http://127.0.0.1:{self.port}"
        text = _MAIN.format(
            dir=self.dir, modules=modules, workers=workers,
            user="user root;" if os.geteuid() == 0 else "",
            path=f"{ROOT}/tests/nginx/?.lua;{BUILD}/lua/share/?.lua;{BUILD}/lua/share/?/init.lua;"
                 f"{lua}/?.lua;;",
            cpath=f"{BUILD}/lua/5.1/?.so;;",
            http=re.sub(r"\bPORT\d?\b", lambda match: str(ports[match[0]]), http))
        (self.dir / "nginx.conf").write_text(text)
        fds = [one.fileno() for one in sockets.values()]
        self.process = processes.start(
            "nginx", [program, "-p", self.dir, "-e", f"{self.dir}/error.log", "-c", f"{self.dir}/nginx.conf"],
            cwd=workdir, pass_fds=fds,
            env={**_sanitizer(), "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
                 "NGINX": "".join(f"{fd};" for fd in fds)})
        for one in sockets.values():
            one.close()
        wait_until(lambda: self.log().count("start worker process ") >= workers, "nginx has workers",
                   self.process)

    def log(self):
        path = self.dir / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def worker_pids(self):
        return [int(pid) for pid in re.findall(r"start worker process (\d+)", self.log())]

    def expect_log(self, pattern):
        """A line of the log matches; it is not unexpected any more."""
        wait_until(lambda: re.search(pattern, self._unexpected()), f"the log has {pattern}",
                   self.process)
        self._excused.append(pattern)

    def _unexpected(self):
        lines = [line for line in self.log().splitlines()
                 if not any(re.search(pattern, line) for pattern in self._excused)]
        return "\n".join(lines)

    def stop(self):
        """Stops it as an operator does; nothing severe must be in the log. After SIGTERM it would
        kill workers that take longer than a second."""
        code = self.process.stop(signal.SIGQUIT)
        assert code == 0, f"exit code {code}\n{self.log()[-4000:]}"
        severe = [line for line in self._unexpected().splitlines() if _SEVERE.search(line)]
        assert not severe, "\n".join(severe)[:4000]
        assert not SANITIZER.search(self.log()), self.log()[-8000:]

    def request(self, method="POST", target="/api/v1/write", body=b"", headers=None):
        return request(self.port, method, target, body, headers)


def _sanitizer():
    """What a program needs that loads our library, as built."""
    keys = ("LD_PRELOAD", "ASAN_OPTIONS")
    return {key: value for key, value in interpreter_env().items() if key in keys}


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def written(self):
        """The counts of remote write 2.0, None where there are none."""
        found = [self.headers.get(f"x-prometheus-remote-write-{kind}-written")
                 for kind in ("samples", "histograms", "exemplars")]
        return None if found == [None] * 3 else tuple(None if n is None else int(n) for n in found)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:500]}"


def request(port, method, target, body=b"", headers=None):
    """body may be an iterable of pieces: then it is sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, target, body, headers or {},
                           encode_chunked=not isinstance(body, (bytes, str, type(None))))
        return Answer(connection.getresponse())
    finally:
        connection.close()
