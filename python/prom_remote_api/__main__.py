# SPDX-License-Identifier: Apache-2.0
"""python -m prom_remote_api serve MODULE[:OBJECT]: a storage on the server of the library."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from . import Error
from . import __version__ as version
from ._loop import resolve
from ._server import Server, log_to_stderr, run

_SERVE = """\
Serves a storage until SIGTERM or Ctrl-C; then its close() is called, if it has one. The storage is
the OBJECT of that name in MODULE: an object, a class (which is called without arguments), or a
function, which takes writes. Without :OBJECT the module itself is the storage. Modules are looked
for in the current folder, too (not with python -P)."""


class _Wrong(Exception):
    """What the user gave cannot be served; the message says why."""


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _limit(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    try:
        return name, int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no number") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m prom_remote_api", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="serve")
    command = verbs.add_parser(
        "serve", help="serve a storage over HTTP", description=_SERVE, allow_abbrev=False
    )
    command.add_argument("storage", metavar="MODULE[:OBJECT]")
    _add_server(command.add_argument_group("server"))
    _add_handler(command.add_argument_group("what is taken and answered"))
    return parser


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:9201", help="default: %(default)s"
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="requests that are in the storage at one time"
    )
    group.add_argument(
        "--max-connections", type=int, metavar="N", help="for one more an idle one is closed"
    )
    group.add_argument(
        "--max-concurrent-reads", type=int, metavar="N", help="a further read waits, then gets 503"
    )
    group.add_argument(
        "--grace", type=float, metavar="SECONDS", help="for requests in flight at the end"
    )
    group.add_argument(
        "--web-config-file",
        metavar="FILE",
        help="TLS and passwords, as Prometheus' --web.config.file",
    )
    group.add_argument(
        "--bearer-token-file", metavar="FILE", help="tokens, a line each, one of which is needed"
    )


def _add_handler(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tenant-header", metavar="NAME", help="default: X-Scope-OrgID; '' = none")
    group.add_argument(
        "--limit",
        dest="limits",
        type=_limit,
        action="append",
        metavar="NAME=N",
        help="a limit of pra_limits, as max_body_bytes=1000000; may be repeated",
    )
    group.add_argument(
        "--accept",
        dest="accepted_messages",
        type=int,
        action="append",
        choices=(1, 2),
        help="a version of remote write; may be repeated; default: both",
    )
    group.add_argument(
        "--strict", action="store_true", default=None, help="refuse what is mended otherwise"
    )
    group.add_argument(
        "--external-label",
        dest="external_labels",
        type=_pair,
        action="append",
        metavar="NAME=VALUE",
        help="every series of an answer has it; may be repeated",
    )
    group.add_argument(
        "--ignored-matcher",
        dest="ignored_matchers",
        action="append",
        metavar="NAME",
        help="matchers on this label are left out of queries; may be repeated",
    )
    group.add_argument(
        "--read-delay", type=float, metavar="SECONDS", help="what is younger is not read"
    )
    group.add_argument(
        "--read-max-age", type=float, metavar="SECONDS", help="what is older is not read"
    )


def _load(path: str) -> Any:
    """The storage that MODULE[:OBJECT] names."""
    name, _, attributes = path.partition(":")
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):  # the former since Python 3.11
        sys.path.insert(0, os.getcwd())
    found: Any = _import(name)
    for attribute in attributes.split(".") if attributes else ():
        if not hasattr(found, attribute):
            raise _Wrong(f"{name} has no {attributes}")
        found = getattr(found, attribute)
    return _instance(found) if isinstance(found, type) else found


def _import(name: str) -> Any:
    """A mistake inside the module keeps its traceback."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise _Wrong(f"there is no module {error.name}") from None
        raise
    except (TypeError, ValueError):
        if name and not name.startswith("."):
            raise
        raise _Wrong(f"{name!r} is no name of a module") from None


def _instance(kind: type) -> Any:
    try:
        inspect.signature(kind).bind()
    except TypeError:
        raise _Wrong(f"{kind.__name__} wants arguments: name an object of it instead") from None
    except ValueError:
        pass
    return kind()


def _options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given; the rest is as Server has it."""
    options = {
        name: value
        for name, value in arguments.items()
        if value is not None and name not in ("verb", "storage")
    }
    for name in ("limits", "external_labels"):
        if name in options:
            options[name] = dict(options[name])
    return options


def _server(storage: Any, options: dict[str, Any]) -> Server:
    try:
        return Server(storage, **options)
    except (TypeError, ValueError, OverflowError) as error:  # of the storage's form, or an option
        raise _Wrong(str(error)) from None


def _serve(storage: Any, options: dict[str, Any]) -> None:
    log_to_stderr()
    try:
        run(_server(storage, options))
    finally:
        close = getattr(storage, "close", None)
        if callable(close):
            resolve(close())


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parsed = vars(_parser().parse_args(arguments))
    try:
        _serve(_load(parsed["storage"]), _options(parsed))
    except (_Wrong, Error) as error:
        print(f"prom_remote_api: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
