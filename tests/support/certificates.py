# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made with the program openssl."""

import subprocess


def _openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True,
                   stdin=subprocess.DEVNULL)


class Authority:
    """A certificate authority in a folder of its own."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        self.certificate = folder / f"{name}.crt"
        self._name = name
        _openssl("req", "-x509", *self._key(name, "ec"), "-out", f"{name}.crt", "-days", "30",
                 "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 cwd=folder)

    @staticmethod
    def _key(name, kind):
        new = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
               "rsa": ["-newkey", "rsa:2048"]}[kind]
        return [*new, "-nodes", "-keyout", f"{name}.key"]

    def issue(self, name, sans="DNS:localhost,IP:127.0.0.1", usage="serverAuth", days=30, kind="ec"):
        """NAME.crt and NAME.key in the folder; returns the paths of both."""
        (self.folder / f"{name}.ext").write_text(
            f"subjectAltName={sans}\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n")
        _openssl("req", "-new", *self._key(name, kind), "-out", f"{name}.csr", "-subj", f"/CN={name}",
                 cwd=self.folder)
        _openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self._name}.crt", "-CAkey",
                 f"{self._name}.key", "-CAcreateserial", "-days", str(days), "-extfile",
                 f"{name}.ext", "-out", f"{name}.crt", cwd=self.folder)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"
