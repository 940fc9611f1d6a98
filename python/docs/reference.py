# SPDX-License-Identifier: Apache-2.0
"""The reference of the package as HTML: reference.py FOLDER; `./dev docs` runs it.

All text is from docstrings, those of C included. Types are as the source has them; those of what is
made in C are from _pra.pyi.
"""

from __future__ import annotations

import __future__

import ast
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar
from unittest import mock

import pdoc.doc
import pdoc.doc_pyi
import pdoc.doc_types
import pdoc.render

import prom_remote_api
from prom_remote_api import _histogram, _storage, storages

_STUB = Path(prom_remote_api.__file__).with_name("_pra.pyi")
_T = TypeVar("_T")


class _Text(str):
    """Shown as it is."""

    __repr__ = str.__str__


class _Structseq(Generic[_T]):
    """In the place of what only type checkers know."""


def _as_written(annotation: Any, *_: object) -> Any:
    """Names of types stay names: what they stand for fills pages."""
    text = getattr(annotation, "__forward_arg__", annotation)
    return _Text(text) if isinstance(text, str) else annotation


def _stub() -> ModuleType:
    """The stub file as a module."""
    typeshed = ModuleType("_typeshed")
    vars(typeshed)["structseq"] = _Structseq
    module = ModuleType("prom_remote_api._pra")
    module.__file__ = str(_STUB)
    module.__package__ = "prom_remote_api"
    code = compile(_STUB.read_text(), _STUB, "exec", flags=__future__.annotations.compiler_flag)
    with mock.patch.dict(sys.modules, {"_typeshed": typeshed}):
        exec(code, vars(module))
    return module


def _add_stub(package: pdoc.doc.Module) -> None:
    """Signatures and types of what is made in C."""
    stub = pdoc.doc.Module(_stub())
    pdoc.doc_pyi._prepare_module(package)
    for name, member in package.members.items():
        known = stub.get(name)
        if known is None or member.taken_from[0] == _storage.__name__:
            continue
        text = member.docstring
        pdoc.doc_pyi._patch_doc(member, stub)
        member.docstring = text  # not what a base class has that stands in the stub
        if isinstance(member, pdoc.doc.Class) and isinstance(known, pdoc.doc.Class):
            for extra in member.members.keys() - known.members.keys() | {"__init__"}:
                member.members.pop(extra, None)  # what every structseq has


def _add_aliases(package: pdoc.doc.Module) -> None:
    """Text and definition of what is no class and no function."""
    for module in (_storage, _histogram):
        defined = pdoc.doc.Module(module)
        tree = ast.parse(Path(module.__file__ or "").read_text())
        for node in tree.body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            member = package.get(node.target.id)
            known = defined.get(node.target.id)
            if isinstance(member, pdoc.doc.Variable) and known and node.value:
                member.docstring = known.docstring
                member.default_value = _Text(ast.unparse(node.value))


def modules() -> dict[str, pdoc.doc.Module]:
    """What is documented, by name."""
    for name in storages.__all__:
        vars(storages)[name] = getattr(storages, name)  # it is imported when it is asked for
    package = pdoc.doc.Module(prom_remote_api)
    _add_stub(package)
    _add_aliases(package)
    for key in prom_remote_api.HandlerOptions.__annotations__:
        package.members["ServerOptions"].members.pop(key)  # type: ignore[attr-defined]
    return {one.modulename: one for one in (package, pdoc.doc.Module(storages))}


def main(folder: Path) -> None:
    """Writes a page for each module, an index and what the search box needs."""
    pdoc.render.configure(docformat="markdown", show_source=False)
    pages = modules()
    with warnings.catch_warnings():
        # Keys that a TypedDict inherits; and pdoc's own way to read stubs, instead of _stub()
        warnings.filterwarnings("ignore", "Cannot determine where prom_remote_api.ServerOptions")
        warnings.filterwarnings("ignore", "Error parsing type stubs for prom_remote_api._pra")
        for name, module in pages.items():
            page = folder / f"{name.replace('.', '/')}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(pdoc.render.html_module(module, pages))
    (folder / "index.html").write_text(pdoc.render.html_index(pages))
    (folder / "search.js").write_text(pdoc.render.search_index(pages))


for _user in (pdoc.doc, pdoc.doc_types):
    setattr(_user, "safe_eval_type", _as_written)

if __name__ == "__main__":
    main(Path(sys.argv[1]))
