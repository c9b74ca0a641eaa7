"""Self-signed certificates of servers on the loopback interface."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.home import UNPRIVILEGED, account

INSTALL = "apt-get install openssl"


class Certificate:
    """A certificate of 127.0.0.1 that no authority signed.

    Attributes:
        public: the file with the certificate, which a client can name as its authority.
    """

    def __init__(self, directory: Path) -> None:
        self.public = directory / "server.pem"
        self._private = directory / "server.key"
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        files = ["-keyout", self._private, "-out", self.public]
        subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)

    def copied(self, directory: Path) -> tuple[Path, Path]:
        """Copy certificate and key where a server may read them, and return both paths."""
        copies = [Path(shutil.copy(each, directory)) for each in (self.public, self._private)]
        for each in copies:
            if account():
                os.chown(each, UNPRIVILEGED, UNPRIVILEGED)
        return copies[0], copies[1]


def is_available() -> bool:
    """Whether the program that makes certificates is installed."""
    return shutil.which("openssl") is not None
