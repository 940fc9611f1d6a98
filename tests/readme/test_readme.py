# SPDX-License-Identifier: Apache-2.0
"""Every snippet of README.md does what the README says, as printed."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

import receivers
import wire
from processes import wait_until
from relay import post
from snippets import ROOT, only, snippets

PORT = 9201
KINDS = ("serve", "prometheus.yml", "prometheus", "console", "current.yml", "current", "web.yml",
         "certificate", "door", "door.yml", "c", "python", "python asgi", "python columns", "pypi", "lua first",
         "lua")


def test_every_snippet_says_how_it_is_run():
    for snippet in snippets():
        if snippet.how.startswith("ctest "):
            name = snippet.how.removeprefix("ctest ")
            assert name in ctest_names(), f"no ctest test {name}"
        else:
            assert snippet.how in KINDS, f"no way to run is given for\n{snippet.text}"


def ctest_names():
    """Names of all tests; `ctest -N` would overwrite the log of the ctest that runs this."""
    files = receivers.BUILD.rglob("CTestTestfile.cmake")
    return {name for file in files
            for name in re.findall(r"^add_test\((?:\[=\[)?([^\]\s]+)", file.read_text(), re.M)}


# ---- the first steps

def stand_in_for_dev(folder):
    """./dev builds and then runs `pra`; here pra is built already."""
    script = folder / "dev"
    script.write_text(f'#!/bin/sh\nverb=$1; shift\n'
                      f'exec {receivers.PRA} "$verb" --storage=sqlite:./prom.db "$@"\n')
    script.chmod(0o755)


def without_numbers(text):
    return re.sub(r"\d+(\.\d+)?(e\+\d+)?", "N", text).strip()


def check_console(text, folder):
    """Runs what follows "$ " until it prints what the README shows."""
    for part in text.split("$ ")[1:]:
        command, _, expected = part.partition("\n")
        seen = []

        def prints_it(command=command, expected=expected, seen=seen):
            result = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True,
                                    text=True, check=False)
            seen[:] = [result.stdout + result.stderr]
            return without_numbers(result.stdout) == without_numbers(expected)

        try:
            wait_until(prints_it, f"`{command}` prints\n{expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nbut it prints\n{seen[0]}") from None


def test_first_steps(processes, tmp_path):
    if not receivers.PRA.exists() or not shutil.which("prometheus"):
        receivers.lacking("pra is not built, or there is no prometheus")
    stand_in_for_dev(tmp_path)
    serve = processes.start("serve", ["bash", "-c", "exec " + only("serve").text], cwd=tmp_path)
    wait_until(lambda: serve.port() == PORT, "pra serves", serve)
    configure(tmp_path, only("prometheus.yml").text)
    processes.start("prometheus", ["bash", "-c", "exec " + only("prometheus").text], cwd=tmp_path)
    for snippet in snippets():
        if snippet.how == "console":
            check_console(snippet.text, tmp_path)
    assert serve.stop() == 0


def configure(folder, text, target="127.0.0.1:9090"):
    scrape = {"scrape_configs": [{"job_name": "prometheus", "scrape_interval": "1s",
                                  "static_configs": [{"targets": [target]}]}]}
    configuration = json.dumps(scrape)[1:-1].replace('"scrape_configs"', "scrape_configs")
    (folder / "prometheus.yml").write_text(configuration + "\n" + text)


def test_tls_and_authentication(processes, tmp_path):
    if not receivers.PRA.exists() or not shutil.which("prometheus"):
        receivers.lacking("pra is not built, or there is no prometheus")
    stand_in_for_dev(tmp_path)
    certificate = only("certificate").text.replace("DNS:storage.example", "IP:127.0.0.1")
    subprocess.run(["bash", "-c", certificate], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "web.yml").write_text(only("web.yml").text)
    (tmp_path / "password").write_text("secret")
    serve = processes.start("serve", ["bash", "-c", "exec " + only("door").text], cwd=tmp_path)
    wait_until(lambda: "listening" in serve.text(), "pra serves", serve)
    configure(tmp_path, only("door.yml").text.replace("storage.example", "127.0.0.1"))
    processes.start("prometheus", ["bash", "-c", "exec " + only("prometheus").text], cwd=tmp_path)
    curl = ["curl", "-s", "--cacert", "server.crt", f"https://127.0.0.1:{PORT}/metrics"]

    def metrics(*login):
        return subprocess.run([*curl, *login], cwd=tmp_path, capture_output=True, text=True).stdout

    wait_until(lambda: re.search(r"^pra_received_samples_total [1-9]",
                                 metrics("-u", "prometheus:secret"), re.M), "samples arrive", serve)
    assert "pra_received" not in metrics()
    assert "warn" not in re.sub(r".*request refused.*\n", "", serve.text())
    assert serve.stop() == 0


# ---- the backends

def installed(folder):
    """Flags for a program that uses the libraries of the build, through pkg-config."""
    prefix = folder / "prefix"
    subprocess.run(["cmake", "--install", receivers.BUILD, "--prefix", prefix], check=True,
                   capture_output=True)
    pkgconfig = next(prefix.rglob("pkgconfig"))
    return prefix, pkgconfig


def compile_c(folder, text, *packages):
    prefix, pkgconfig = installed(folder)
    (folder / "snippet.c").write_text(text)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True,
                           env={**os.environ, "PKG_CONFIG_PATH": str(pkgconfig)},
                           capture_output=True, text=True).stdout.split()
    sanitize = receivers.cache("PRA_SANITIZE")
    subprocess.run([receivers.cache("CMAKE_C_COMPILER"), "-Wall", "snippet.c", "-o", "snippet",
                    *flags, *([f"-fsanitize={sanitize}"] if sanitize else [])],
                   cwd=folder, check=True)
    return {"LD_LIBRARY_PATH": str(pkgconfig.parent)}


def write_one(prefix=""):
    now_ms = int(time.time() * 1000)
    body = wire.write_request({"__name__": "readme", "word": "küche"}, 42.5, now_ms)
    status, _, answer = post(PORT, f"{prefix}/api/v1/write", wire.HEADERS, body)
    assert status == 204, answer
    return now_ms


def write_and_read_one(prefix=""):
    now_ms = write_one(prefix)
    body = wire.read_request("readme", now_ms - 1000, now_ms + 1000)
    status, _, answer = post(PORT, f"{prefix}/api/v1/read", wire.HEADERS, body)
    assert status == 200, answer
    message = wire.uncompress(answer)
    sample = wire.write_request({"__name__": "readme", "word": "küche"}, 42.5, now_ms)
    # ReadResponse > QueryResult > TimeSeries: the very bytes of the series that was written.
    assert message == wire.field(1, wire.uncompress(sample))


def test_c(processes, tmp_path):
    if not list(receivers.BUILD.rglob("libpra_server.so")):
        receivers.lacking("libpra_server is not built")
    environment = compile_c(tmp_path, only("c").text, "pra_server")
    process = processes.start("snippet", ["./snippet"], cwd=tmp_path, env=environment, stdin=True)
    assert process.port() == PORT
    write_one()
    process.enter()
    wait_until(lambda: process.returncode() is not None, "the program ends after Enter")
    assert process.returncode() == 0
    assert "1 series, 1 samples" in process.text()


@pytest.mark.parametrize("language", ["python", "lua"])
def test_script(processes, tmp_path, language):
    interpreter, example = receivers.script(language)
    text = only(language).text
    assert text.strip() in example.read_text(), f"not what is in {example}"
    (tmp_path / example.name).write_text(text)
    process = processes.start("script", [interpreter, example.name], cwd=tmp_path,
                              env=receivers.interpreter_env())
    assert process.port() == PORT
    write_and_read_one()
    process.stop()


@pytest.mark.parametrize("host", ["interpreter", "server"])
def test_lua_first(processes, tmp_path, host):
    interpreter, _ = receivers.script("lua")
    text = only("lua first").text
    assert text.count("\n") == 5
    (tmp_path / "first.lua").write_text(text)
    command = [interpreter, "first.lua"]
    if host == "server":
        if not receivers.PRA.exists():
            receivers.lacking("pra is not built")
        command = [str(receivers.PRA), "serve", "--storage=lua:first.lua"]
    process = processes.start("script", command, cwd=tmp_path, env=receivers.interpreter_env())
    assert process.port() == PORT
    write_one()
    assert process.stop() == 0
    assert "readme\t42.5" in process.text()


def start_python(processes, folder, how, page="README.md", arguments=("snippet.py",)):
    """A snippet for which packages of PyPI are needed, perhaps."""
    receivers.script("python")  # skips where the package is not built
    (folder / "snippet.py").write_text(only(how, page).text)
    process = processes.start("script", [sys.executable, *arguments], cwd=folder,
                              env=receivers.interpreter_env())
    assert process.port() == PORT
    return process


def test_python_asgi(processes, tmp_path):
    server = ["-m", "uvicorn", "snippet:app", "--port", str(PORT)]
    process = start_python(processes, tmp_path, "python asgi", arguments=server)
    write_and_read_one("/prom")
    process.stop()


def test_python_columns(processes, tmp_path):
    process = start_python(processes, tmp_path, "python columns")
    write_one()
    assert "readme" in process.text() and "42.5" in process.text(), process.tail()
    assert process.stop() == 0


def test_page_of_the_package(processes, tmp_path):
    page = "python/README.md"
    assert {snippet.how for snippet in snippets(page)} == {"pypi", "prometheus.yml"}
    assert only("prometheus.yml", page).text == only("prometheus.yml").text
    process = start_python(processes, tmp_path, "pypi", page)
    write_and_read_one()
    assert process.stop() == 0


def test_embedding_example(tmp_path):
    environment = compile_c(
        tmp_path, pathlib.Path(ROOT / "core" / "examples" / "embed.c").read_text(), "pra")
    result = subprocess.run(["./snippet"], cwd=tmp_path, env={**os.environ, **environment},
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "POST /api/v1/write -> 204\n"
        "POST /api/v1/read -> 200\n"
        "  Content-Type: application/x-protobuf\n"
        "  Content-Encoding: snappy\n"
        '  __name__="room_celsius"\n'
        '  room="kitchen"\n'
        "  21 at 2000\n"
        "  21.5 at 3000\n")
