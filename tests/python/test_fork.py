"""Made before a fork (gunicorn --preload), used in the child and in the parent."""

from __future__ import annotations

from test_server import run

PROGRAM = """
    import asyncio, http.client, io
    TYPES = {"CONTENT_TYPE": "application/x-protobuf", "HTTP_CONTENT_ENCODING": "snappy"}
    class Both(pra.Storage):
        def write(self, ctx, request):
            pass
        async def process_query(self, ctx, query):
            yield {"a": "b"}, [(1, 1.0)]

    def in_both(use):
        pid = os.fork()
        use()
        if pid == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7

    def wsgi(app):
        seen = []
        for path, body in (("/write", b"\\0"), ("/read", b"\\6\\24\\12\\4\\10\\0\\20\\1")):
            environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "wsgi.input": io.BytesIO(body),
                       "CONTENT_LENGTH": str(len(body)), **TYPES}
            pieces = app(environ, lambda status, headers: seen.append(status[:3]))
            list(pieces)
            pieces.close()
        assert seen == ["204", "200"], seen

    def asgi(app):
        async def call(path, body):
            async def receive():
                if messages:
                    return messages.pop()
                await asyncio.Event().wait()
            async def send(message):
                sent.append(message)
            sent, messages = [], [{"type": "http.request", "body": body, "more_body": False}]
            headers = [(b"content-type", b"application/x-protobuf"), (b"content-encoding", b"snappy")]
            await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
            return sent[0]["status"]
        assert asyncio.run(call("/write", b"\\0")) == 204
        assert asyncio.run(call("/read", b"\\6\\24\\12\\4\\10\\0\\20\\1")) == 200
"""


def check(body: str) -> None:
    result = run(PROGRAM + body)
    assert (result.returncode, result.stdout) == (0, "ended\n"), result.stderr


def test_wsgi_application() -> None:
    check("""
    app = pra.make_wsgi_app(Both())
    in_both(lambda: wsgi(app))
    in_both(lambda: wsgi(app))  # it has exchanges and the loop of the package by now
    """)


def test_asgi_application() -> None:
    check("""
    app = pra.make_asgi_app(Both())
    in_both(lambda: asgi(app))
    in_both(lambda: asgi(app))  # it has threads by now
    """)


def test_server_that_was_not_started() -> None:
    """One of the processes may start it."""
    check("""
    server = pra.Server(Both(), "127.0.0.1:0")
    def use():
        with server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("GET", "/-/healthy")
            assert connection.getresponse().status == 200
            connection.close()
    pid = os.fork()
    if pid == 0:
        use()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)


def test_child_that_uses_nothing() -> None:
    check("""
    server, app = pra.Server(Both(), "127.0.0.1:0"), pra.make_asgi_app(Both())
    asgi(app)
    pid = os.fork()
    if pid == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/-/healthy")
        assert connection.getresponse().status == 200
        connection.close()
    """)
