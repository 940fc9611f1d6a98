# SPDX-License-Identifier: Apache-2.0
"""The README uses fixed ports, so its tests run in a network of their own."""

import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import sys

import pytest

for folder in ("support", "e2e"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / folder))

from processes import Processes  # noqa: E402

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40


def pytest_sessionstart(session):
    flags = _CLONE_NEWNET | (0 if os.getuid() == 0 else _CLONE_NEWUSER)
    if ctypes.CDLL(None).unshare(flags) != 0:
        return  # not allowed here: the ports have to be free then
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS,
                    struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING))


@pytest.fixture
def processes():
    all_of_them = Processes()
    yield all_of_them
    all_of_them.kill_all()
    print(all_of_them.tails())
    all_of_them.check_sanitizers()
