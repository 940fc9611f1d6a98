# SPDX-License-Identifier: Apache-2.0
"""A scrape target with values and labels that are easily lost on the way."""

import http.server
import threading

# Escaped as the exposition format wants it.
ODD_LABELS = {
    "quotes": r'say \"hi\"',
    "newline": r"first\nsecond",
    "backslash": r"C:\\dir\\",
    "utf8": "naïve 日本語 🎉",
    "control": "tab\there\x01",
    "spaces": "  ",
    "long": "x" * 2000,
    "empty": "",
}
CONSTANTS = ("NaN", "+Inf", "-Inf", "0", "1", "-1", "0.1", "1e-320", "5e-324",
             "1.7976931348623157e+308", "9007199254740993", "1234567890.123456")


def page(tick):
    """What the target exposes at its tick-th scrape, as OpenMetrics."""
    lines = ["# HELP e2e_requests Requests.", "# TYPE e2e_requests counter"]
    for number, code in enumerate(("200", "204", "404", "500"), 1):
        for method in ("get", "post"):
            zone = ',zone="b"' if method == "post" else ""
            value = tick * number * len(method) % 97 + 97 * (tick * number * len(method) // 97)
            lines.append(f'e2e_requests_total{{code="{code}",method="{method}"{zone}}} {value}'
                         f' # {{trace_id="{tick:08x}"}} {tick} {1700000000 + tick}.5')
    lines.append("# TYPE e2e_constant gauge")
    lines += [f'e2e_constant{{value="{text}"}} {text}' for text in CONSTANTS]
    lines += [f'e2e_odd{{{name}="{value}"}} {tick}' for name, value in ODD_LABELS.items()]
    lines.append("e2e_all_odd{" + ",".join(f'{n}="{v}"' for n, v in ODD_LABELS.items()) + "} 1")
    lines.append(f"e2e_tick {tick}")
    lines.append(f"e2e_walk {(tick * 7919 % 1000) / 7}")
    lines.append(f"e2e_resets {tick % 5}")
    lines.append(f"e2e_mostly_nan {tick if tick % 3 == 0 else 'NaN'}")
    if tick % 8 < 4:
        lines.append("e2e_flapping 1")
    if tick < 8:
        lines.append(f'e2e_vanishing{{reason="one series goes"}} {tick}')
    lines.append("# TYPE e2e_latency histogram")
    for bound in ("0.1", "1", "10", "+Inf"):
        count = tick * {"0.1": 1, "1": 3, "10": 4, "+Inf": 5}[bound]
        lines.append(f'e2e_latency_bucket{{le="{bound}"}} {count}')
    lines += [f"e2e_latency_sum {tick * 2.5}", f"e2e_latency_count {tick * 5}"]
    return "\n".join([*lines, "# EOF"]) + "\n"


class Target:
    """Serves page(); ticks counts the scrapes answered."""

    def __init__(self):
        self.ticks = 0
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = page(target.ticks).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                target.ticks += 1

            def log_message(self, *args):
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()
