# SPDX-License-Identifier: Apache-2.0
"""Whether a worker's memory stays where it is."""

import pathlib

from receivers import cache


def _resident(pid):
    text = pathlib.Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * 4096


def assert_no_growth(nginx, ask, times=600):
    """After a warm-up, as many requests again take no more memory than garbage may lie about."""
    if "address" in cache("PRA_SANITIZE"):
        times = times // 4  # freed memory is kept aside there: only that it works
    (pid,) = nginx.worker_pids()
    for _ in range(times):
        assert ask()
    warm = _resident(pid)
    for _ in range(2 * times):
        assert ask()
    grown = _resident(pid) - warm
    if "address" not in cache("PRA_SANITIZE"):
        assert grown < 8 << 20, f"{grown} bytes more after {2 * times} requests"
