# SPDX-License-Identifier: Apache-2.0
"""serve_one.py HOST STORAGE: one server for bench_python_servers.py, which prints its port first.

HOST is c (libpra_server and a storage in C), serve, uvicorn or gunicorn; STORAGE one of those below
or the application of the peers.
"""

import socket
import sys
import threading

from prom_remote_api import Reject


class Looking:
    """Does nothing but look, as the one in C."""

    def write(self, ctx, request):
        if request.series_count == 0:
            raise Reject("no series")


class LookingAsync:
    async def write(self, ctx, request):
        if request.series_count == 0:
            raise Reject("no series")


class Storing:
    """What the peers do."""

    def write(self, ctx, request):
        for series in request:
            self.store(series.labels, series.samples)

    def store(self, labels, samples):
        pass


class StoringAsync(Storing):
    async def write(self, ctx, request):
        for series in request:
            self.store(series.labels, series.samples)


STORAGES = {kind.__name__: kind for kind in (Looking, LookingAsync, Storing, StoringAsync)}


def application(host, storage):
    if storage == "peer":
        if host == "uvicorn":
            from fastapi_peer import app
        else:
            from flask_peer import app
        return app
    if host == "uvicorn":
        from prom_remote_api import make_asgi_app

        return make_asgi_app(STORAGES[storage]())
    from prom_remote_api import make_wsgi_app

    return make_wsgi_app(STORAGES[storage]())


def say(port):
    print(port, flush=True)


def run_c(storage):
    from support import native

    say(native.native_serve())
    threading.Event().wait()


def run_serve(storage):
    from prom_remote_api import Server

    with Server(STORAGES[storage](), "127.0.0.1:0") as server:
        say(server.port)
        server.wait()


def listening():
    sock = socket.create_server(("127.0.0.1", 0), backlog=128)
    say(sock.getsockname()[1])
    return sock


def run_uvicorn(storage):
    import uvicorn

    config = uvicorn.Config(
        application("uvicorn", storage), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening()])


def run_gunicorn(storage):
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self):
            self.cfg.set("bind", f"fd://{sock.fileno()}")
            self.cfg.set("worker_class", "gthread")
            self.cfg.set("threads", 8)
            self.cfg.set("loglevel", "warning")
            if "control_socket_disable" in self.cfg.settings:
                self.cfg.set("control_socket_disable", True)  # it would be in the home directory

        def load(self):
            return application("gunicorn", storage)

    sock = listening()
    Application().run()


if __name__ == "__main__":
    {"c": run_c, "serve": run_serve, "uvicorn": run_uvicorn, "gunicorn": run_gunicorn}[
        sys.argv[1]](sys.argv[2])
