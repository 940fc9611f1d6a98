# SPDX-License-Identifier: Apache-2.0
"""The nginx.conf of lua/docs/nginx.md."""

import re

from messages import V1, V2, up, v1, v2
from nginx import ROOT
from test_filter import said


def test_the_whole_configuration(serve, upstream):
    page = (ROOT / "lua" / "docs" / "nginx.md").read_text()
    (text,) = re.findall(r"^<!-- nginx.conf -->\n```nginx\n(.*?)^```$", page, re.M | re.S)
    inside = re.fullmatch(r".*^http \{\n(.*)^\}\n", text, re.M | re.S)[1]
    inside = inside.replace("access_log off;", "")  # the test has its own
    inside = inside.replace("127.0.0.1:9210", "127.0.0.1:PORT").replace("127.0.0.1:9201", f"127.0.0.1:{upstream.port}")
    nginx = serve(inside, workers=2)
    team = {"X-Scope-OrgID": "team-b"}
    body = up(job="a", instance="db:9100", pod_template_hash="x"), {"__name__": "go_threads"}
    upstream.answer = 204, said(1, 0, 0), b""
    assert nginx.request(body=v1(*body), headers=V1 | team).status == 204
    assert nginx.request(body=v2(*body), headers=V2 | team).written == (2, 0, 0)
    for got in upstream.requests:
        assert got.labels == [up(job="a", instance="db:9100", host="db")]
        assert got.headers["x-scope-orgid"] == "team-b"
    assert nginx.request(body=v1(*body), headers=V1).status == 401
    assert nginx.request(target="/api/v1/read", headers={"X-Scope-OrgID": "else"}).status == 403
    upstream.answer = 200, {}, b"read"
    assert nginx.request(target="/api/v1/read", headers=team).text == "read"
    assert "_dropped_series_total 2\n" in nginx.request("GET", "/metrics").text
