# SPDX-License-Identifier: Apache-2.0
"""An upstream that keeps what it got and answers as it is told."""

import http.server
import threading

import wire


class Forwarded:
    """A request as it arrived."""

    def __init__(self, handler, body):
        self.path = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.names = [name.lower() for name in handler.headers.keys()]
        self.body = body

    @property
    def message(self):
        return wire.uncompress(self.body)

    @property
    def series(self):
        """(labels, samples) of each series; of 2.0 the samples without start timestamps."""
        if "v2" in self.headers["content-type"]:
            return series_v2(self.message)
        return [wire._series(one) for field, one in wire.fields(self.message) if field == 1]

    @property
    def labels(self):
        return [labels for labels, _ in self.series]


def series_v2(message):
    parts = list(wire.fields(message))
    symbols = [value.decode() for field, value in parts if field == 4]
    out = []
    for field, raw in parts:
        if field == 5:
            refs, at, samples = [], 0, []
            for number, value in wire.fields(raw):
                if number == 1:
                    while at < len(value):
                        ref, at = wire.read_varint(value, at)
                        refs.append(symbols[ref])
                elif number == 2:
                    samples += wire._series(wire.data(2, value))[1]
            out.append((dict(zip(refs[::2], refs[1::2])), samples))
    return out


class Upstream:
    """answer is (status, headers, body), or a function of a Forwarded that returns that; None closes
    the connection."""

    def __init__(self, answer=(204, {}, b"")):
        self.answer, self.requests, self.gate = answer, [], threading.Event()
        self.gate.set()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                upstream._serve(self)

            do_GET = do_POST

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args):  # whoever asked is gone
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _serve(self, handler):
        got = Forwarded(handler, handler.rfile.read(int(handler.headers.get("Content-Length", 0))))
        self.requests.append(got)
        self.gate.wait(60)
        answer = self.answer(got) if callable(self.answer) else self.answer
        if answer is None:
            handler.close_connection = True
            return
        status, headers, body = answer
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
