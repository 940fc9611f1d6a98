"""The reference that `./dev docs` makes: everything public is in it, with text."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any

import pdoc.doc
import pytest

import prom_remote_api as pra
from prom_remote_api import _pra, storages

SOURCE = Path(__file__).resolve().parents[3] / "python" / "docs" / "reference.py"
pytestmark = [  # the keys that a TypedDict inherits; pdoc's own way to read stubs
    pytest.mark.filterwarnings("ignore:Cannot determine where prom_remote_api.ServerOptions"),
    pytest.mark.filterwarnings("ignore:Error parsing type stubs for prom_remote_api._pra"),
]
STUB = Path(pra.__file__).with_name("_pra.pyi")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> Any:
    return reference.modules()


def public(namespace: Any) -> Iterator[Any]:
    for member in namespace.members.values():
        if not member.name.startswith("_") and member in namespace.own_members:
            yield member
            if isinstance(member, pdoc.doc.Class):
                yield from public(member)


def test_everything_public_has_text(pages: Any) -> None:
    members = [member for module in pages.values() for member in public(module)]
    names = {member.fullname for member in members}
    assert {"prom_remote_api.Query.matches", "prom_remote_api.HandlerOptions.limits"} <= names
    poor = re.compile(r"|Alias for field number \d+|Represent a PEP 604 union type|dict\(\) -> .*", re.S)
    lacking = [member.fullname for member in members if poor.fullmatch(member.docstring.strip())]
    assert not lacking, "\n".join(lacking)


def test_text_of_c_is_that_of_c(pages: Any) -> None:
    package = pages["prom_remote_api"]
    for name in ("Context", "Exemplar", "Hints", "Metadata", "WriteRequest"):
        assert package.get(name).docstring == inspect.getdoc(getattr(pra, name)), name


def test_what_is_in_c_has_types(pages: Any) -> None:
    for name in pra.__all__:
        value = getattr(pra, name)
        if getattr(_pra, name, None) is not value:
            continue
        member = pages["prom_remote_api"].get(name)
        is_function = isinstance(member, pdoc.doc.Function)
        for one in [member] if is_function else public(member):
            if isinstance(one, pdoc.doc.Function):
                assert one.signature.return_annotation is not inspect.Signature.empty, one.fullname
            else:
                assert one.annotation_str, one.fullname


def test_the_pages(reference: ModuleType, tmp_path: Path) -> None:
    reference.main(tmp_path)
    for module, file in ((pra, "prom_remote_api.html"), (storages, "prom_remote_api/storages.html")):
        page = (tmp_path / file).read_text()
        for name in module.__all__:
            assert f'id="{name}"' in page, f"{name} is not in {file}"
    text = plain((tmp_path / "prom_remote_api.html").read_text())
    for kind in (pra.TimeSeries, pra.WriteRequest, pra.Query):
        assert kind.__doc__ and plain(kind.__doc__.partition("\n")[0]) in text
    assert plain("def matches(self, labels: Mapping[str, str], /) -> bool:") in text


def plain(text: str) -> str:
    """Without markup and spaces."""
    return re.sub(r"\s+|`", "", unescape(re.sub(r"<[^>]+>", "", text)))


def test_c_alone_says_what_it_does() -> None:
    """So stubs cannot say something else."""
    tree = ast.parse(STUB.read_text())
    kinds = (ast.ClassDef, ast.FunctionDef)
    assert not [node.name for node in ast.walk(tree) if isinstance(node, kinds) and ast.get_docstring(node)]
