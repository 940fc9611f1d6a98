"""The wheel, where it is installed: what is in it, what it links, that it gets on with others, that types are found.

Run by run.py, which says in PRA_WHEEL where the file is.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

import prom_remote_api as pra

PACKAGE = Path(pra.__file__).parent
GRAFTED = PACKAGE.parent / "prom_remote_api.libs"
# What manylinux allows: it is in every system that has the glibc of the tag.
SYSTEM = re.compile(r"(ld-linux-.*|libc|libdl|libgcc_s|libm|libpthread|librt|libstdc\+\+)\.so\.\d+")

USERS_FILE = """
from collections.abc import Iterator
import prom_remote_api as pra

class Mine(pra.Storage):
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        for ts in request:
            reveal_type(ts.labels)

    def process_query(self, ctx: pra.Context, query: pra.Query) -> Iterator[pra.SeriesLike]:
        yield {"a": "b"}, [(1, 1.0)]

pra.make_wsgi_app(Mine())
"""


class Sink(pra.Storage):
    def write(self, ctx: pra.Context, request: pra.WriteRequest) -> None:
        pass


@pytest.fixture(scope="module")
def wheel() -> zipfile.ZipFile:
    return zipfile.ZipFile(os.environ["PRA_WHEEL"])


def dynamic(path: Path) -> list[tuple[str, str]]:
    """(tag, text) of the dynamic section: what is needed, and where it is looked for."""
    with path.open("rb") as file:
        (section,) = (s for s in ELFFile(file).iter_sections() if isinstance(s, DynamicSection))
        return [
            (tag.entry.d_tag, getattr(tag, {"DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}[tag.entry.d_tag]))
            for tag in section.iter_tags()
            if tag.entry.d_tag in ("DT_NEEDED", "DT_RPATH", "DT_RUNPATH")
        ]  # fmt: skip


def module() -> Path:
    (found,) = PACKAGE.glob("_pra.*.so")
    return found


def test_nothing_outside_is_needed() -> None:
    """So no compiler and no package of the system is needed where it is installed."""
    grafted = {path.name for path in GRAFTED.iterdir()}
    needed = set()
    for path in (module(), *GRAFTED.iterdir()):
        for tag, text in dynamic(path):
            if tag == "DT_NEEDED":
                assert text in grafted or SYSTEM.fullmatch(text), f"{path.name} needs {text}"
                needed.add(text)
            else:
                assert text.startswith("$ORIGIN"), f"{path.name} looks in {text}"
    assert grafted <= needed, "something is inside that nothing needs"


def test_tag() -> None:
    (tag,) = re.findall(r"-manylinux_2_(\d+)_[^-]*\.whl$", os.environ["PRA_WHEEL"])
    built_on = int(os.confstr("CS_GNU_LIBC_VERSION").split(".")[1])  # type: ignore[union-attr]
    assert int(tag) <= (34 if built_on == 36 else built_on)


def test_only_the_init_function_is_exported() -> None:
    with module().open("rb") as file:
        (symbols,) = (s for s in ELFFile(file).iter_sections() if s.name == ".dynsym")
        assert isinstance(symbols, SymbolTableSection)
        exported = {s.name for s in symbols.iter_symbols() if s["st_shndx"] != "SHN_UNDEF" and s.name}
    assert exported == {"PyInit__pra"}


def test_contents(wheel: zipfile.ZipFile) -> None:
    names = {name for name in wheel.namelist() if not name.endswith("/")}
    stem = Path(os.environ["PRA_WHEEL"]).name.rsplit("-", 3)[0]
    in_package = {name for name in names if name.startswith("prom_remote_api/")}
    assert {"py.typed", "pra.py", "pra.pyi", "_pra.pyi"} <= {Path(name).name for name in in_package}
    assert all(name.endswith((".py", ".pyi", ".so", "/py.typed")) for name in in_package), in_package
    info = {name.removeprefix(f"{stem}.dist-info/") for name in names if ".dist-info/" in name}
    assert {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE", "licenses/THIRD-PARTY.txt"} <= info
    top = {name.split("/")[0] for name in names}
    assert top == {"prom_remote_api", "prom_remote_api.libs", f"{stem}.dist-info"}


def test_licences() -> None:
    facts = metadata.metadata("prom_remote_api")
    assert facts["License-Expression"].startswith("Apache-2.0 AND ")
    (notice,) = (path for path in metadata.files("prom_remote_api") or () if path.name == "THIRD-PARTY.txt")
    text = notice.read_text()
    for path in GRAFTED.iterdir():
        library = re.sub(r"(-0)?-[0-9a-f]{8}\.so.*", "", path.name)
        assert re.search(rf"(?m)^{library} +[A-Z].*\d$", text), library
        assert re.search(rf"(?m)^{library} \(lib", text), library
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in text


def test_metadata() -> None:
    facts = metadata.metadata("prom_remote_api")
    assert facts["Version"] == pra.__version__
    assert facts["Description-Content-Type"] == "text/markdown"
    required = metadata.requires("prom_remote_api") or []
    assert all("extra ==" in line for line in required), "nothing is needed at run time"


@pytest.mark.parametrize("first", ["pyarrow", "prom_remote_api"])
def test_beside_others(first: str) -> None:
    """A package with its own snappy and RE2 (pyarrow) and ours, with all symbols in one scope."""
    pytest.importorskip("pyarrow")
    program = f"""
import os, sys
sys.setdlopenflags(os.RTLD_GLOBAL | os.RTLD_NOW)
import {first}
import pyarrow as pa
import pyarrow.compute
import prom_remote_api as pra
sys.path.insert(0, "tests/python")
import wire
from hosts import ServerHost

class Mine(pra.Storage):
    def write(self, ctx, request):
        self.got = [(ts.labels, list(ts.samples)) for ts in request]
    def process_query(self, ctx, query):
        return [series for series in self.got if query.matches(series[0])]

mine, up = Mine(), {{"__name__": "up", "job": "x" * 2000}}
text = b"abc" * 10000
for _ in range(2):
    with ServerHost(mine) as host:
        assert host.write_series((up, [(1, 1.0)])).status == 204
        assert host.read(wire.query(0, 9, [("job", "=~", "x+|(y.?)+")])).results == [[(up, [(1, 1.0)])]]
        assert host.read(wire.query(0, 9, [("job", "=~", "x{{3}}|(y.?)+")])).results == [[]]
    packed = pa.compress(text, codec="snappy", asbytes=True)
    assert pa.decompress(packed, len(text), codec="snappy", asbytes=True) == text
    assert wire.uncompress(packed) == text
    assert pa.compute.match_substring_regex(pa.array(["abc", "b"]), "^a(b|c)+$").to_pylist() == [True, False]
print("fine")
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.stdout == "fine\n", done.stderr


def test_passwords(tmp_path: Path) -> None:
    """libcrypt is linked in, less what would make random numbers."""
    hashed = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ann: {hashed}}}\n")
    statuses = []
    with pra.Server(Sink(), "127.0.0.1:0", web_config_file=tmp_path / "web.yml") as server:
        for password in (b"secret", b"wrong"):
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            token = base64.b64encode(b"ann:" + password).decode()
            connection.request("GET", "/-/healthy", headers={"Authorization": f"Basic {token}"})
            statuses.append(connection.getresponse().status)
            connection.close()
    assert statuses == [200, 401]


def test_types_of_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(USERS_FILE)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "mine.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    shown = done.stdout.replace("builtins.", "")  # which not all versions write
    assert done.returncode == 0 and "dict[str, str]" in shown, done.stdout + done.stderr
