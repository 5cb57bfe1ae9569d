"""A Dask scheduler and a worker with TLS, as their own commands, and certificates for them."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fault_cluster import Command, _free_port, environment, scheduler_words, until

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


class Authority:
    """Who signs certificates, and its files in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(f"CA of {folder.name}")
        self._write("ca", self._name, self._key, is_authority=True)
        self._write("own", _named("dask"), ec.generate_private_key(ec.SECP256R1()))

    def _write(
        self,
        name: str,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = False,
    ) -> None:
        now = dt.datetime.now(dt.UTC)
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(local, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        plain = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}.key").write_bytes(plain)

    def settings(self, *roles: str) -> dict[str, str]:
        """Environment of a process that has a certificate of this authority."""
        found = {f"{TLS}CA_FILE": str(self.folder / "ca.crt")}
        for role in roles:
            found |= {f"{TLS}{role.upper()}__CERT": str(self.folder / "own.crt")}
            found |= {f"{TLS}{role.upper()}__KEY": str(self.folder / "own.key")}
        return found


@contextmanager
def tls_cluster(folder: Path, authority: Authority, *, workers: int = 1) -> Iterator[str]:
    """Yields the address."""
    port = _free_port()
    address = f"tls://127.0.0.1:{port}"
    settings = authority.settings("scheduler", "worker", "client")
    commands = []
    try:
        words = [*scheduler_words(port), "--protocol", "tls"]
        commands.append(Command.start(words, folder / "scheduler.log", environment(**settings)))
        for number in range(workers):
            words = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
                     "--no-dashboard", "--host", "127.0.0.1", "--protocol", "tls",
                     "--local-directory", str(folder / f"worker{number}")]  # fmt: skip
            env = environment(**settings)
            commands.append(Command.start(words, folder / f"worker{number}.log", env))
        until(lambda: "Scheduler at:" in commands[0].err, "the scheduler")
        for command in commands[1:]:
            until(lambda one=command: "Registered to:" in one.err, "a worker")
        yield address
    finally:
        for command in commands:
            command.end()
