"""What `./dev wheel [PYTHON ...]` does: a source distribution, a wheel of it for each interpreter, and its tests.

Each wheel is installed in a fresh environment, where nothing else is when the examples are tried; then the packages
of tests/requirements.txt are put within reach and the suites run: with the oldest interpreter the oldest versions that
are said to do, with the others the newest. Between the oldest and the newest interpreter only the suites of the C
module run, since CPython's C interface is what differs; what is written in Python is tried at both ends. Two
interpreters at a time. Needs build and auditwheel (build/venv).
"""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "wheel"
REQUIREMENTS = ROOT / "tests" / "requirements.txt"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
NOT_HERE = {"test_install.py", "test_faults.py", "test_malformed.py"}  # want what only a build has
OF_PYTHON = {
    f"test_{name}.py"
    for name in (
        "asgi", "data", "hosting", "loop", "main", "options", "reference", "retention", "storages", "typing", "wsgi"
    )  # fmt: skip
}
ASK = "import sys, venv, ensurepip; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=ENVIRONMENT | environment
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nfailed: {' '.join(map(str, command))}")
    return done.stdout


def say(text: str) -> None:
    print("==", text, file=sys.stderr, flush=True)


def supported() -> list[str]:
    """The versions that pyproject.toml names."""
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())


def candidates() -> Iterator[str]:
    yield "/usr/bin/python3"
    for version in supported():
        if found := shutil.which(f"python{version}"):
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob("versions/*/bin/python3")))


def interpreters(named: list[str]) -> dict[str, str]:
    """The first usable interpreter of each version, or those named."""
    found: dict[str, str] = {}
    for path in named or candidates():
        path = shutil.which(path) or shutil.which(f"python{path}") or path
        if not os.access(path, os.X_OK):
            if named:
                sys.exit(f"wheel: no interpreter {path} (name one as python3.11, 3.11, or by its path)")
            continue
        asked = subprocess.run([path, "-I", "-c", ASK], capture_output=True, text=True, env=ENVIRONMENT)
        implementation, _, version = asked.stdout.strip().partition(" ")
        if implementation == "cpython" and version in supported():
            found.setdefault(version, path)
        elif named:
            sys.exit(f"wheel: {path} is not CPython {', '.join(supported())} with venv")
    return {version: found[version] for version in supported() if version in found}


def make_sdist() -> Path:
    say("the source distribution")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", WORK / "dist", ".")
    (sdist,) = (WORK / "dist").glob("*.tar.gz")
    return sdist


def make_wheel(python: Path, sdist: Path, version: str) -> Path:
    raw = WORK / f"raw-{version}"
    shutil.rmtree(raw, ignore_errors=True)
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir", "--wheel-dir", raw,
        "--config-settings=cmake.define.PRA_PYTHON_WHEEL=ON", sdist)  # fmt: skip
    (built,) = raw.glob("*.whl")
    run(sys.executable, "bindings/wheel.py", built, raw / "whole")
    (whole,) = (raw / "whole").glob("*.whl")
    return whole.rename(WORK / "dist" / whole.name)


def packages(python: Path, version: str) -> tuple[str, list[str]]:
    """A folder with the packages of the tests, and what has no wheel for this interpreter."""
    if version == "%d.%d" % sys.version_info[:2]:
        return site.getsitepackages()[0], []
    folder = WORK / f"packages-{version}"
    stamp = folder / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if version == supported()[0]:
        wanted = wanted.replace(">=", "==")
    if not stamp.exists() or stamp.read_text().split("\0")[0] != wanted:
        say(f"{version}: the packages of tests/requirements.txt")
        shutil.rmtree(folder, ignore_errors=True)
        names = [line for line in wanted.splitlines() if line and not line.startswith("#")]
        missing = [] if install(python, folder, names) else [name for name in names if not install(python, folder, [name])]
        stamp.write_text("\0".join([wanted, *missing]))
    return str(folder), stamp.read_text().split("\0")[1:]


def install(python: Path, folder: Path, names: list[str]) -> bool:
    command: list[str | Path] = [python, "-m", "pip", "install", "-q", "--upgrade", "--only-binary=:all:"]
    command += ["--target", folder, *names]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == 0


def test(python: Path, version: str, wheel: Path, left_out: set[str]) -> tuple[bool, str]:
    """Each file in a process of its own, as ctest does it. Whether all passed, and how many did what."""
    environment = ENVIRONMENT | {"PRA_WHEEL": str(wheel), "PYTHONDONTWRITEBYTECODE": "1"}
    log = ""
    passed = True
    counts: Counter[str] = Counter()
    for file in (*sorted(ROOT.glob("tests/wheel/test_*.py")), *sorted(ROOT.glob("tests/python/**/test_*.py"))):
        if file.name in left_out:
            continue
        command: list[str | Path] = [python, "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider",
                                     f"--basetemp={WORK / f'tmp-{version}'}", file]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
        log += done.stdout + done.stderr
        for number, what in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.strip().rpartition("\n")[2]):
            counts[what] += int(number)
        if done.returncode:
            passed = False
            print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
    (WORK / f"tests-{version}.log").write_text(log)
    return passed, ", ".join(f"{number} {what}" for what, number in counts.items())


def check(version: str, interpreter: str, sdist: Path, left_out: set[str]) -> tuple[bool, str]:
    """Makes and tests a wheel. Whether the tests passed, and the line of the table."""
    start = time.monotonic()
    say(f"{version}: a wheel")
    environment = WORK / f"env-{version}"
    run(interpreter, "-m", "venv", "--clear", environment)
    python = environment / "bin" / "python"
    wheel = make_wheel(python, sdist, version)
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    run(python, "tests/wheel/alone.py")
    folder, missing = packages(python, version)
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(where, "packages.pth").write_text(folder + "\n")
    say(f"{version}: the tests")
    passed, outcome = test(python, version, wheel, left_out)
    if not passed:
        print(f"wheel: the tests failed under {interpreter} ({version})", file=sys.stderr)
    tag = wheel.name.removesuffix(".whl").split("-", 2)[2]
    lacking = f"; without {', '.join(missing)}" if missing else ""
    size, seconds = wheel.stat().st_size / 1e6, time.monotonic() - start
    return passed, f"{version:5} {tag:36} {size:.1f} MB {seconds:4.0f} s  {outcome}{lacking}"


def main() -> None:
    shutil.rmtree(WORK / "dist", ignore_errors=True)
    chosen = interpreters(sys.argv[1:])
    left_out = {version: NOT_HERE | OF_PYTHON for version in chosen}
    for end in ([*chosen][:1], [*chosen][-1:]):
        left_out.update(dict.fromkeys(end, NOT_HERE))
    sdist = make_sdist()
    with ThreadPoolExecutor(2) as pool:  # the tests wait more than they work
        waiting = {
            version: pool.submit(check, version, chosen[version], sdist, left_out[version])
            for version in sorted(chosen, key=lambda version: len(left_out[version]))  # the longest first
        }
    results = [waiting[version].result() for version in chosen]
    print(f"{sdist.relative_to(ROOT)} {sdist.stat().st_size / 1e3:.0f} kB", *(line for _, line in results), sep="\n")
    sys.exit(not all(passed for passed, _ in results))


if __name__ == "__main__":
    main()
