# SPDX-License-Identifier: Apache-2.0
"""A relay before a receiver that keeps every request, can add headers and can lose answers."""

import http.client
import http.server
import threading


class Relay:
    """Passes POSTs on to receiver and records (path, headers, body, status)."""

    def __init__(self, receiver, lose_every=0, headers=None):
        self.requests = []
        self.lost = 0
        relay, added = self, headers

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name: self.headers[name] for name in self.headers
                           if name.lower() not in ("host", "content-length")} | (added or {})
                status, answer_headers, answer = post(receiver.port, self.path, headers, body)
                if relay._record(self.path, headers, body, status, lose_every):
                    self.close_connection = True
                    return
                self.send_response(status)
                for name in ("Content-Type", "Content-Encoding"):
                    if name in answer_headers:
                        self.send_header(name, answer_headers[name])
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _record(self, path, headers, body, status, lose_every):
        with self._lock:
            self.requests.append((path, headers, body, status))
            lose = lose_every and len(self.requests) % lose_every == 0
            self.lost += bool(lose)
            return lose

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def post(port, path, headers, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()
