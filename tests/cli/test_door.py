# SPDX-License-Identifier: Apache-2.0
"""TLS, passwords and tokens: --web.config.file and --web.bearer-token-file."""

import base64
import http.client
import json
import os
import re
import socket
import ssl

import pytest

from certificates import Authority
from rawproto import block, message, packed
from serving import GUARD_S, PRA, WRITE, run

SECRET = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
OTHER = "$2a$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu"
HUNDRED = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i"  # "x" * 100
UMLAUTS = "$2y$04$abcdefghijklmnopqrstuuukcFUuF1uD2.SsVXl2Kxf7oTFxL3IEq"  # grüße
TOKEN = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
REFUSED = (ssl.SSLError, ConnectionError, http.client.HTTPException)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("ca"))
    made.issue("server")
    made.issue("rsa", kind="rsa")
    for name, options in {
            "one": {"sans": "DNS:one,email:one@example.org,URI:spiffe://a/b,IP:10.1.2.3,IP:fd00::1"},
            "expired": {"sans": "DNS:one", "days": -1},
            "for-servers": {"sans": "DNS:one", "usage": "serverAuth"}}.items():
        made.issue(name, **{"usage": "clientAuth", **options})
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    stranger.issue("one", sans="DNS:one", usage="clientAuth")
    made.stranger = stranger
    return made


def client(authority, name=None, **attributes):
    """How a client connects; name: with which certificate."""
    context = ssl.create_default_context(cafile=authority.certificate)
    if name:
        folder = authority.folder
        if name == "stranger":
            folder, name = authority.stranger.folder, "one"
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    for attribute, value in attributes.items():
        setattr(context, attribute, value)
    return context


def replace(path, text):
    """As editors and configuration managers do: never half a file."""
    new = path.with_suffix(".new")
    new.write_text(text if isinstance(text, str) else json.dumps(text))
    os.replace(new, path)


class Door:
    """A server with a configuration that can be changed."""

    def __init__(self, serve, folder, authority):
        self._serve, self.folder, self._authority = serve, folder, authority
        self.path = folder / "web.yml"

    def tls(self, **more):
        return {"tls_server_config": {"cert_file": "server.crt", "key_file": "server.key", **more}}

    def install(self, name="server"):
        for suffix in ("crt", "key"):
            replace(self.folder / f"server.{suffix}",
                    (self._authority.folder / f"{name}.{suffix}").read_text())

    def start(self, config, *flags):
        self.install()
        replace(self.folder / "ca.crt", self._authority.certificate.read_text())
        replace(self.path, config)
        server = self._serve("--storage=memory", f"--web.config.file={self.path}", *flags)
        if isinstance(config, dict) and "tls_server_config" in config:
            server.tls = client(self._authority)
        return server


@pytest.fixture
def door(serve, tmp_path, authority):
    folder = tmp_path / "door"
    folder.mkdir()
    return Door(serve, folder, authority)


def answers(server, **headers):
    """The status of a small request; None: the connection was refused or cut."""
    try:
        return server.request("GET", "/-/healthy", **headers)[0]
    except REFUSED + (IndexError,):
        return None


def basic(user, password):
    pair = user.encode() + b":" + (password if isinstance(password, bytes) else password.encode())
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


# ---- TLS

def test_tls(door, authority):
    server = door.start(door.tls())
    assert server.write()[0] == 204
    assert "url: https://test/api" in server.request("GET", "/")[1]
    server.wait_for("open https://")
    with server.connect() as connection:
        assert connection.version() == "TLSv1.3"
    kept = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls, timeout=GUARD_S)
    for _ in range(3):
        kept.request("POST", "/api/v1/write", WRITE)
        answer = kept.getresponse()
        assert (answer.status, answer.read()) == (204, b"")
    body = b"\xff" * (9 << 20)  # more than one record, and refused only at its end
    kept.request("POST", "/api/v1/write", body)
    answer = kept.getresponse()
    assert (answer.status, answer.read().count(b"\n")) == (400, 1)
    assert server.stop() == 0
    assert kept.sock.recv(1) == b""


def test_chunked_bodies_are_cut_off_within_tls(door):
    server = door.start(door.tls(), "--limit.body-size=1KiB")
    with server.connect() as connection:
        connection.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                           b"\r\n1000000\r\n" + b"x" * 2000)  # and that is not its end
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413 ") and b"Connection: close" in answer
    assert b"--limit.body-size" in answer
    assert server.stop() == 0


def test_streamed_answers_within_tls(door):
    server = door.start(door.tls())
    samples = [(2, [(1, i * 1e9 / 7), (2, i)]) for i in range(100_000)]
    up = [(1, [(1, [(1, b"__name__"), (2, b"up")]), *samples])]
    ask = [(1, [(2, 1 << 40), (3, [(2, b"__name__"), (3, b"up")])]), (2, packed(1))]
    assert server.write(block(message(up)))[0] == 204
    kept = http.client.HTTPSConnection("127.0.0.1", server.port, context=server.tls, timeout=GUARD_S)
    sizes = set()
    for _ in range(3):
        kept.request("POST", "/api/v1/read", block(message(ask)))
        answer = kept.getresponse()
        assert answer.status == 200 and answer.getheader("Transfer-Encoding") == "chunked"
        sizes.add(len(answer.read()))
    assert len(sizes) == 1 and sizes.pop() > 100_000
    assert server.stop() == 0


def test_texts_instead_of_files(door, authority):
    server = door.start({"tls_server_config": {
        name: (authority.folder / f"rsa.{suffix}").read_text()
        for name, suffix in (("cert", "crt"), ("key", "key"))}})
    assert answers(server) == 200


@pytest.mark.parametrize("limits, offered, version", [
    ({}, "TLSv1_2", "TLSv1.2"),
    ({"max_version": "TLS12"}, "TLSv1_3", "TLSv1.2"),
    ({"min_version": "TLS13"}, "TLSv1_3", "TLSv1.3"),
    ({"min_version": "TLS13"}, "TLSv1_2", None),
])
def test_versions(door, authority, limits, offered, version):
    server = door.start(door.tls(**limits))
    server.tls = client(authority, maximum_version=ssl.TLSVersion[offered])
    try:
        with server.connect() as connection:
            assert connection.version() == version
    except ssl.SSLError:
        assert version is None
    assert server.stop() == 0


ECDSA_128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
ECDSA_CBC = "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
RSA_256 = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"


@pytest.mark.parametrize("key, suites, offered, chosen", [
    ("server", [ECDSA_128, RSA_256], "ALL", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("server", [ECDSA_128, RSA_256], "ECDHE-ECDSA-AES256-GCM-SHA384", None),
    ("rsa", [ECDSA_128, RSA_256], "ALL", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("rsa", [ECDSA_128, RSA_256], "ECDHE-RSA-AES128-GCM-SHA256", None),
    ("server", [ECDSA_CBC], "ALL", "ECDHE-ECDSA-AES256-SHA"),
    ("server", [RSA_256], "ALL", None),
    ("server", [ECDSA_CBC], None, "TLS_AES_256_GCM_SHA384"),  # None: TLS 1.3, not concerned
    ("server", [RSA_256], None, "TLS_AES_256_GCM_SHA384"),
])
def test_cipher_suites(door, authority, key, suites, offered, chosen):
    server = door.start(door.tls(cipher_suites=suites))
    door.install(key)
    server.tls = client(authority)
    if offered:
        server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        server.tls.set_ciphers(offered)
    try:
        with server.connect() as connection:
            assert connection.cipher()[0] == chosen
    except ssl.SSLError:
        assert chosen is None
    assert server.stop() == 0


def test_curves(door, authority):
    server = door.start(door.tls(curve_preferences=["CurveP384"]))
    assert answers(server) == 200
    server.tls.set_ecdh_curve("prime256v1")
    assert answers(server) is None
    server.tls.set_ecdh_curve("secp384r1")
    assert answers(server) == 200
    assert server.stop() == 0


CA = {"client_ca_file": "ca.crt"}
ALL = {None: 200, "one": 200, "stranger": 200, "expired": 200, "for-servers": 200}
SIGNED = {**ALL, "stranger": None, "expired": None, "for-servers": None}


@pytest.mark.parametrize("config, expected", [
    ({"client_auth_type": "NoClientCert"}, ALL),
    ({"client_auth_type": "RequestClientCert"}, ALL),
    ({"client_auth_type": "RequireAnyClientCert"}, {**ALL, None: None}),
    ({"client_auth_type": "RequireClientCert"}, {**ALL, None: None}),
    ({"client_auth_type": "VerifyClientCertIfGiven", **CA}, SIGNED),
    ({"client_auth_type": "RequireAndVerifyClientCert", **CA}, {**SIGNED, None: None}),
])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_client_certificates(door, authority, config, expected, version):
    server = door.start(door.tls(**config))
    for name in expected:
        server.tls = client(authority, name, maximum_version=ssl.TLSVersion[version])
        assert (name, answers(server)) == (name, expected[name])
    if expected["stranger"] is None:
        server.wait_for('err="the client CA has not signed it"')
    assert server.stop() == 0


@pytest.mark.parametrize("names, expected", [
    (["one"], 200), (["two", "one"], 200), (["one@example.org"], 200), (["spiffe://a/b"], 200),
    (["10.1.2.3"], 200), (["fd00::1"], 200),
    (["two"], None), (["ONE"], None), (["on"], None), ([""], None), ([], None),
])
def test_names_of_client_certificates(door, authority, names, expected):
    server = door.start(door.tls(client_auth_type="RequireAndVerifyClientCert",
                                 client_allowed_sans=names, **CA))
    server.tls = client(authority, "one")
    assert answers(server) == expected
    server.tls = client(authority)
    assert answers(server) is None
    assert server.stop() == 0


# ---- changes while it runs

def certificate_of(server):
    with server.connect() as connection:
        return connection.getpeercert()["subject"][0][0][1]


def test_certificates_are_replaced(door, authority):
    server = door.start(door.tls())
    old = server.connect()
    assert certificate_of(server) == "server"
    door.install("rsa")
    assert certificate_of(server) == "rsa"
    old.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b" 200 " in old.recv(1000)
    # One file after the other: in between the old pair stays in use.
    (door.folder / "server.crt").write_text((authority.folder / "server.crt").read_text())
    assert [certificate_of(server) for _ in range(3)] == ["rsa"] * 3
    assert "does not belong" in server.wait_for("cannot be used")
    (door.folder / "server.key").write_text((authority.folder / "server.key").read_text())
    assert certificate_of(server) == "server"
    server.wait_for("good again")
    assert len([line for line in server.lines if "cannot be used" in line]) == 1
    os.remove(door.folder / "server.key")
    assert certificate_of(server) == "server"
    server.wait_for("No such file")
    assert server.stop() == 0


def test_client_ca_is_replaced(door, authority):
    server = door.start(door.tls(client_auth_type="RequireAndVerifyClientCert", **CA))
    server.tls = client(authority, "one")
    assert answers(server) == 200
    replace(door.folder / "ca.crt", authority.stranger.certificate.read_text())
    assert answers(server) is None
    server.tls = client(authority, "stranger")
    assert answers(server) == 200


def test_users_are_changed(door):
    server = door.start({"basic_auth_users": {"alice": SECRET, "bob": SECRET}})
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=GUARD_S)

    def status(user, password):
        kept.request("GET", "/-/ready", headers=basic(user, password))
        answer = kept.getresponse()
        answer.read()
        return answer.status

    assert status("alice", "secret") == status("bob", "secret") == 200
    replace(door.path, {"basic_auth_users": {"alice": OTHER}})
    assert status("alice", "secret") == status("bob", "secret") == 401
    assert status("alice", "other") == 200
    replace(door.path, "basic_auth_users: {alice\n")  # does not lock anybody out, nor in
    assert status("alice", "other") == 200 and status("bob", "secret") == 401
    assert "web.yml:" in server.wait_for("cannot be used")
    assert "pra_web_config_last_reload_successful 0\n" in server.request(
        "GET", "/metrics", **basic("alice", "other"))[1]
    os.remove(door.path)
    assert status("alice", "other") == 200
    os.mkfifo(door.path)  # holds up nobody
    assert status("alice", "other") == 200
    server.wait_for("it is a pipe")
    replace(door.path, {"basic_auth_users": {"bob": OTHER}})
    assert status("alice", "other") == 401 and status("bob", "other") == 200
    assert "pra_web_config_last_reload_successful 1\n" in server.request(
        "GET", "/metrics", **basic("bob", "other"))[1]
    replace(door.path, {})  # as in the middle of being written
    assert answers(server) == 401 and status("bob", "other") == 200
    server.wait_for("passwords cannot be switched off")
    assert server.stop() == 0


def test_tls_stays_as_it_was(door):
    server = door.start(door.tls())
    replace(door.path, {})
    assert answers(server) == 200
    server.wait_for("TLS cannot be switched off")
    plain = door.start({})
    replace(door.path, door.tls())
    assert answers(plain) == 200
    plain.wait_for("TLS cannot be switched on")


# ---- who are you?

def test_passwords(door):
    users = {"alice": SECRET, "bob": OTHER, "x": HUNDRED, "ü": UMLAUTS}
    server = door.start({"basic_auth_users": users})
    for user, password, status in [
            ("alice", "secret", 200), ("alice", "secret", 200), ("bob", "other", 200),
            ("x", "x" * 100, 200), ("x", "x" * 72, 200),  # bcrypt sees 72 bytes
            ("ü", "grüße", 200), ("x", "x" * 71, 401),
            ("alice", "other", 401), ("alice", "", 401), ("alice", "secret ", 401),
            ("alice", b"secret\0", 401), ("alice", b"secret\0x", 401), ("alice", "secre", 401),
            ("", "", 401), ("", "secret", 401), ("nobody", "secret", 401), ("ALICE", "secret", 401),
            ("alice:", "secret", 401), ("alice", SECRET, 401), ("alice", "x" * 1000, 401),
            ("alice", "x" * 10_000, 401), ("nobody", "x" * 10_000, 401)] * 2:
        assert (user, password, server.request("GET", "/-/healthy", **basic(user, password))[0]) == (
            user, password, status)
    assert server.write(**basic("bob", "other"))[0] == 204
    assert server.stop() == 0


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/write",
                                  "/api/v1/read", "/nothing", "/%2f", "*"])
def test_everything_is_guarded(door, path):
    server = door.start({"basic_auth_users": {"alice": SECRET}})
    status, body = server.request("POST" if "api" in path else "GET", path)
    assert status == 401 and body.endswith("\n") and body.count("\n") == 1
    assert "basic_auth" in body
    assert "code=401 reason=auth" in server.wait_for("request refused")


PAIR = base64.b64encode(b"alice:secret").decode()


@pytest.mark.parametrize("lines, status", [
    ([f"Authorization: Basic {PAIR}"], 200),
    ([f"authorization: bAsIc   {PAIR} "], 200),
    ([f"AUTHORIZATION:Bearer {TOKEN}"], 200),
    ([f"Authorization: Basic {PAIR}"] * 2, 401),
    ([f"Authorization: Basic {PAIR}", "Authorization: Basic eDp4"], 401),
    (["Authorization:"], 401),
    (["Authorization: Basic"], 401),
    (["Authorization: Basic "], 401),
    (["Authorization: Basic ="], 401),
    (["Authorization: Basic ===="], 401),
    ([f"Authorization: Basic {PAIR}="], 401),
    ([f"Authorization: Basic {PAIR[:-1]}"], 401),
    ([f"Authorization: Basic {PAIR} {PAIR}"], 401),
    ([f"Authorization: Basic {PAIR},"], 401),
    ([f"Authorization: Basic\t{PAIR}"], 401),
    (["Authorization: Basic YWxpY2U="], 401),  # no colon
    (["Authorization: Basic YWxpY2U6c2VjcmV0\xff"], 401),
    ([f"Authorization: {PAIR}"], 401),
    ([f"Authorization: Bearer {PAIR}"], 401),
    ([f"Authorization: Bearer {TOKEN[:-1]}"], 401),
    ([f"Authorization: Bearer {TOKEN}0"], 401),
    ([f"Authorization: Bearer {TOKEN} x"], 401),
    ([f"Authorization: Bearer {TOKEN.upper()}"], 401),
    ([f"Authorization: Basic {TOKEN}"], 401),
    ([f"Authorization: Digest username=\"alice\""], 401),
    ([f"Authorization: Basic {'A' * 20_000}"], 401),
    ([f"Authorization: Bearer {'A' * 20_000}"], 401),
    ([f"Proxy-Authorization: Basic {PAIR}"], 401),
    ([f"Authorization : Basic {PAIR}"], 400),
    (["X: a", f" Authorization: Basic {PAIR}"], 400),
])
def test_shapes_of_the_header(door, lines, status):
    (door.folder / "tokens").write_text(TOKEN)
    server = door.start({"basic_auth_users": {"alice": SECRET}},
                        f"--web.bearer-token-file={door.folder / 'tokens'}")
    with server.connect() as connection:
        connection.sendall("\r\n".join(["GET /-/healthy HTTP/1.1", "Host: a", *lines, "", ""]).encode(
            "latin-1"))
        answer = connection.recv(10_000).decode()
    assert int(answer.split()[1]) == status
    if status == 401:
        assert re.findall("\r\nWWW-Authenticate: ([A-Z][a-z]+) realm=", answer) == ["Basic", "Bearer"]
    assert answers(server, **basic("alice", "secret")) == 200
    assert server.stop() == 0


def test_tokens(serve, tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# for the senders\r\n\n  eu-west\t{TOKEN}  \nabc-._~+/==\n")
    server = serve("--storage=memory", f"--web.bearer-token-file={path}")
    assert server.write(**bearer(TOKEN))[0] == 204
    assert server.write(**bearer("abc-._~+/=="))[0] == 204
    assert "credentials_file" in server.request("GET", "/", **bearer(TOKEN))[1]
    for wrong in ("eu-west", "abc", "", "#", TOKEN + "=", f"eu-west {TOKEN}"):
        assert answers(server, **bearer(wrong)) == 401
    assert answers(server) == answers(server, **basic("eu-west", TOKEN)) == 401
    replace(path, "new")
    assert answers(server, **bearer("new")) == 200 and answers(server, **bearer(TOKEN)) == 401
    path.write_text("")  # as in the middle of being written
    assert answers(server, **bearer("new")) == 200
    server.wait_for("there is no token")
    assert server.stop() == 0


def test_body_of_strangers_is_not_taken(door):
    server = door.start({"basic_auth_users": {"alice": SECRET}})
    with server.connect() as connection:
        connection.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           b"Content-Length: 30000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    with server.connect() as connection:
        connection.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: a\r\n"
                           b"Content-Length: 30000000\r\n\r\nabc")
        assert connection.recv(100).startswith(b"HTTP/1.1 401")
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=GUARD_S)
    for headers, status in (({}, 401), (basic("alice", "secret"), 204), (basic("alice", "x"), 401)):
        kept.request("POST", "/api/v1/write", WRITE, headers)
        answer = kept.getresponse()
        answer.read()
        assert answer.status == status


# ---- headers, rate limit

def test_headers_on_every_answer(door):
    server = door.start({"http_server_config": {"http2": True, "headers": {
        "X-Frame-Options": "deny", "Content-Security-Policy": "default-src 'self'",
        "X-XSS-Protection": ""}}, "basic_auth_users": {"alice": SECRET}})
    server.wait_for("HTTP/1.1")
    for headers in ({}, basic("alice", "secret")):
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=GUARD_S)
        for path in ("/", "/api/v1/write"):
            kept.request("POST", path, WRITE, headers)
            answer = kept.getresponse()
            answer.read()
            assert answer.headers["X-Frame-Options"] == "deny"
            assert answer.headers["Content-Security-Policy"] == "default-src 'self'"
            assert "X-XSS-Protection" not in answer.headers


def test_rate_limit(door):
    server = door.start({"rate_limit": {"interval": "1h", "burst": 3}})
    assert [answers(server) for _ in range(5)] == [200, 200, 200, 429, 429]
    replace(door.path, {})
    assert answers(server) == 200


# ---- hostile

@pytest.mark.parametrize("garbage", [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 100_000, b"\xff" * 100_000, b"\x16\x03\x01",
    b"\x16\x03\x01\xff\xff" + b"a" * 70_000, b"\x16\x03\x01\0\x05\x01\0\0\x01\0" + b"x" * 1000,
    b"\x80\x2e\x01\0\x02" + b"x" * 100, b"\x15\x03\x03\0\x02\x02\x28", b"\x17\x03\x03\0\x01a", b"",
])
def test_garbage_instead_of_tls(door, garbage):
    server = door.start(door.tls())
    with socket.create_connection(("127.0.0.1", server.port), timeout=GUARD_S) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            rest = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:  # the server had enough of it before its end
            rest = b""
    assert len(rest) < 100 and b"HTTP/1.1 200" not in rest
    assert answers(server) == 200
    assert server.stop() == 0


def test_garbage_within_tls(door):
    server = door.start(door.tls())
    for garbage in (b"\0" * 1000 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000):
        with server.connect() as connection:
            connection.sendall(garbage)
            connection.close()
    assert answers(server) == 200
    assert server.stop() == 0


# ---- what cannot be used

@pytest.mark.parametrize("text, says", [
    ("tls_server_config:\n  cert_filse: a\n", 'web.yml:2: unknown field "cert_filse"'),
    ("basic_auth_users:\n\n  alice: secret\n", "web.yml:3: the password of"),
    ("tls_server_config: {cert_file: none.crt, key_file: a.key}", "none.crt: No such file"),
    ("tls_server_config: {cert_file: web.yml, key_file: web.yml}", "must be PEM"),
    ("tls_server_config: {cert_file: server.crt, key_file: rsa.key}", "does not belong"),
    ("tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: /dev/null, "
     "client_auth_type: RequireAndVerifyClientCert}", "holds no certificate"),
    ("tls_server_config: {cert_file: server.crt, key_file: server.key, max_version: TLS12, "
     f"cipher_suites: [{RSA_256}]}}", "none of cipher_suites can be used"),
    ("tls_server_config: {cert_file: server.crt, key_file: .}", "s a directory"),
    ("x" * (2 << 20), "larger than 1 MiB"),
])
def test_bad_files_end_the_start(tmp_path, authority, text, says):
    for name in ("server.crt", "server.key", "rsa.key"):
        (tmp_path / name).write_text((authority.folder / name).read_text())
    (tmp_path / "web.yml").write_text(text)
    before = sorted(tmp_path.iterdir())
    result = run("serve", "--web.config.file=web.yml", "--web.listen-address=127.0.0.1:0",
                 cwd=tmp_path)
    assert (result.returncode, says in result.stderr) == (2, True), result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("text, says", [
    ("", "there is no token"), ("# a\n\n", "there is no token"), ("a b c", "tokens:1: a line is"),
    ("\na,b", "tokens:2: a token consists"), ("name a\"b", "a token consists"),
    ("x" * 5000, "a token consists"), ("ab=c", "a token consists"), ("a\0b", "a token consists"),
])
def test_bad_tokens_end_the_start(tmp_path, text, says):
    (tmp_path / "tokens").write_text(text)
    result = run("serve", "--web.bearer-token-file=tokens", "--web.listen-address=127.0.0.1:0",
                 cwd=tmp_path)
    assert (result.returncode, says in result.stderr) == (2, True), result.stderr


def test_pipes_end_the_start(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for flag in ("--web.config.file", "--web.bearer-token-file"):
        result = run("serve", f"{flag}=pipe", "--web.listen-address=127.0.0.1:0", cwd=tmp_path)
        assert result.returncode == 2 and "it is a pipe" in result.stderr


def test_missing_files_end_the_start(tmp_path):
    for flag in ("--web.config.file", "--web.bearer-token-file"):
        result = run("serve", f"{flag}={tmp_path}/none", "--web.listen-address=127.0.0.1:0",
                     cwd=tmp_path)
        assert result.returncode == 2 and "No such file" in result.stderr


# ---- warnings

def test_what_is_not_guarded_is_said(door, serve):
    everywhere = {"listen": "0.0.0.0:0"}
    (door.folder / "tokens").write_text(TOKEN)
    serve("--storage=memory", **everywhere).wait_for("there is no authentication")
    tokens = f"--web.bearer-token-file={door.folder / 'tokens'}"
    serve("--storage=memory", tokens, **everywhere).wait_for("sent in the clear")
    door.start(door.tls())  # makes the files
    config = f"--web.config.file={door.path}"
    serve("--storage=memory", config, **everywhere).wait_for("there is no authentication")
    quiet = serve("--storage=memory", config, tokens, **everywhere)
    replace(door.path, door.tls(client_auth_type="RequireAndVerifyClientCert", **CA))
    mutual = serve("--storage=memory", config, **everywhere)
    for server in (quiet, mutual):
        server.wait_for("prometheus.yml")
        assert not [line for line in server.lines if "level=warn" in line]


def test_help_names_the_flags():
    text = run("serve", "--help").stdout
    assert "--web.config.file" in text and "--web.bearer-token-file" in text and PRA.exists()
