"""The same backend inside any WSGI server: gunicorn --threads 8 wsgi_app:app, waitress, mod_wsgi …

Run as a program it uses the standard library's server: python wsgi_app.py [PORT]
"""

import sys
from wsgiref.simple_server import make_server

from memory_backend import Memory

from prom_remote_api import make_wsgi_app

app = make_wsgi_app(Memory())

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9201
    with make_server("127.0.0.1", port, app) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
