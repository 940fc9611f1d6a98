# SPDX-License-Identifier: Apache-2.0
"""The reference of the package as HTML: reference.py FOLDER; `./dev docs` runs it.

All text is from docstrings, those of C included; what C takes and returns is from _pra.pyi.
"""

from __future__ import annotations

import __future__

import sys
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Generic, TypeVar
from unittest import mock

import pdoc.doc
import pdoc.doc_pyi
import pdoc.render
import pdoc.search

import prom_remote_api
from prom_remote_api import storages

_STUB = Path(prom_remote_api.__file__).with_name("_pra.pyi")
_T = TypeVar("_T")


class _Structseq(Generic[_T]):
    """In the place of what only type checkers know."""


_MemoryView = type(
    "memoryview", (), {"__module__": "builtins", "__class_getitem__": classmethod(GenericAlias)}
)
"""Generic, as memoryview itself is from Python 3.14 on."""


def _stub() -> ModuleType:
    """The stub file as a module."""
    typeshed = ModuleType("_typeshed")
    vars(typeshed)["structseq"] = _Structseq
    module = ModuleType("prom_remote_api._pra")
    module.__file__ = str(_STUB)
    module.__package__ = "prom_remote_api"
    vars(module)["memoryview"] = _MemoryView
    code = compile(
        _STUB.read_text(), _STUB, "exec", flags=__future__.annotations.compiler_flag
    )
    with mock.patch.dict(sys.modules, {"_typeshed": typeshed}):
        exec(code, vars(module))
    return module


def modules() -> dict[str, pdoc.doc.Module]:
    """What is documented, with the signatures of what is in C."""
    stub = _stub()
    package = pdoc.doc.Module(prom_remote_api)
    pdoc.doc_pyi._prepare_module(package)
    with mock.patch.dict(sys.modules, {stub.__name__: stub}):
        pdoc.doc_pyi._patch_doc(package, pdoc.doc.Module(stub))
    package.__dict__["submodules"] = []  # only what has a page
    return {one.modulename: one for one in (package, pdoc.doc.Module(storages))}


def main(folder: Path) -> None:
    """Writes a page for each module, an index and what the search box needs."""
    pdoc.render.configure(docformat="markdown", show_source=False)
    pages = modules()
    for name, module in pages.items():
        page = folder / f"{name.replace('.', '/')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(pdoc.render.html_module(module, pages))
    (folder / "index.html").write_text(pdoc.render.html_index(pages))
    (folder / "search.js").write_text(pdoc.render.search_index(pages))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
