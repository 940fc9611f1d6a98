# SPDX-License-Identifier: Apache-2.0
"""The fenced blocks of README.md, and of the other pages. A comment before each says how it is run:

<!-- run: serve -->           a command that goes on running
<!-- run: prometheus.yml -->  added to a configuration that scrapes prometheus itself
<!-- run: prometheus -->      a command that goes on running, after the configuration is there
<!-- run: current.yml -->     likewise, for a current Prometheus (test_current.py)
<!-- run: current -->         a command that goes on running: a current Prometheus, with that file
<!-- run: web.yml -->         the file of that name
<!-- run: certificate -->     a command that makes files
<!-- run: door -->            a command that goes on running, with that file
<!-- run: door.yml -->        added to a configuration, for writing to that command
<!-- run: console -->         commands after "$ ", each with what it prints (numbers may differ)
<!-- run: c --> python, lua   a storage, started and then written to
<!-- run: python ... -->     likewise, with other packages around
<!-- run: ctest NAME -->      something that takes long; the ctest test NAME does it
<!-- run: file NAME -->       a file of that name, for the commands that follow
<!-- run: hosting ... -->     a server; see tests/python/frameworks/test_hosting.py
"""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^(?:<!-- run: ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", re.M | re.S)


@dataclasses.dataclass
class Snippet:
    how: str
    language: str
    text: str


def snippets(page="README.md"):
    text = (ROOT / page).read_text()
    return [Snippet(how or "", language, text) for how, language, text in _BLOCK.findall(text)]


def only(how, page="README.md"):
    found = [s for s in snippets(page) if s.how == how]
    assert len(found) == 1, f"{page} has {len(found)} blocks to run as {how}"
    return found[0]
