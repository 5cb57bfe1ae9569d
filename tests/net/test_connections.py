"""How a server is reached: its own connection, a proxy, a redirect, ~/.netrc."""

import base64
import ssl
import types
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fault_server import serve

from rsscale.errors import ReadError
from rsscale.net import connections, retry
from rsscale.net.ranges import fetch_range

CONTENT = np.random.default_rng(0).bytes(100_000)


@pytest.fixture
def server(tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    with serve(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    connections.forget()
    yield
    connections.forget()


def part(url):
    return fetch_range(url, 10, 60_010, None).body


def test_a_query_and_odd_names_arrive_as_they_are(server, tmp_path):
    (tmp_path / "a b+c%.bin").write_bytes(CONTENT)
    server.needs = "sig=a%2Bb%3D&x=1+2"
    assert part(f"{server.url}/file.bin?sig=a%2Bb%3D&x=1+2") == CONTENT[10:60_010]
    assert fetch_range(f"{server.url}/file.bin?sig=a%2Bb%3D&x=1+2", 0, 9, None).body == CONTENT[:9]


def test_one_connection_serves_many_requests(server):
    for _ in range(5):
        assert part(f"{server.url}/file.bin") == CONTENT[10:60_010]
    pool, _ = connections._route(server.url)
    assert (pool.num_connections, pool.num_requests) == (1, 5)


def test_a_redirect_is_followed_and_then_expected(server, tmp_path):
    with serve(tmp_path) as mirror:
        server.always = (302, {"Location": f"{mirror.url}/file.bin", "Set-Cookie": "k=v"}, b"")
        for _ in range(3):
            assert part(f"{server.url}/file.bin") == CONTENT[10:60_010]
        assert len(mirror.requests) == 3
    # The first was asked twice, as nobody knew; those after it bring the cookie.
    assert len(server.requests) == 4
    assert [one.get("Cookie") for one in server.headers] == [None, None, "k=v", "k=v"]


def test_credentials_of_netrc_go_to_their_server_only(server, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    assert part(f"{server.url}/file.bin") == CONTENT[10:60_010]
    wanted = "Basic " + base64.b64encode(b"me:secret").decode()
    assert server.headers[-1]["Authorization"] == wanted
    assert part(server.url.replace("127.0.0.1", "localhost") + "/file.bin") == CONTENT[10:60_010]
    assert "Authorization" not in server.headers[-1]


def test_credentials_in_an_address_are_used(server):
    assert part(server.url.replace("//", "//me:secret@") + "/file.bin") == CONTENT[10:60_010]
    assert server.headers[-1]["Authorization"].startswith("Basic ")


def test_the_proxy_of_the_environment_is_used_but_not_for_loopback(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    assert part("http://archive.test/file.bin") == CONTENT[10:60_010]
    assert server.requests[-1][0] == "http://archive.test/file.bin"
    assert part(f"{server.url}/file.bin") == CONTENT[10:60_010]
    assert server.requests[-1][0] == "/file.bin"


def test_of_a_whole_file_only_the_beginning_is_taken(server):
    server.always = "whole"
    assert connections.get(f"{server.url}/file.bin", {}).body == CONTENT[:512]


@pytest.mark.parametrize("redirected", [False, True])
def test_of_a_range_without_end_one_byte_more_is_taken(server, tmp_path, redirected):
    """A server that sends more than was asked for is not read to its end."""
    server.always = (206, {"Content-Range": "bytes 0-9/600"}, CONTENT)
    with serve(tmp_path) as far:
        far.always = server.always
        if redirected:
            server.always = (302, {"Location": f"{far.url}/file.bin"}, b"")
        answer = connections.get(f"{server.url}/file.bin", {"Range": "bytes=0-9"}, most=10)
    assert answer.body == CONTENT[:11]


def test_a_certificate_must_be_trusted(tmp_path, monkeypatch):
    bundle, key = self_signed(tmp_path)
    (tmp_path / "file.bin").write_bytes(CONTENT)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(bundle, key)
    monkeypatch.setattr(retry, "time", types.SimpleNamespace(sleep=lambda _: None))
    with serve(tmp_path, tls) as server:
        with pytest.raises(ReadError, match="its TLS certificate is not accepted"):
            part(f"{server.url}/file.bin")
        connections.forget()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        assert part(f"{server.url}/file.bin") == CONTENT[10:60_010]
        connections.forget()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
        with pytest.raises(OSError, match=r"missing\.pem"):
            part(f"{server.url}/file.bin")


def self_signed(folder):
    """A certificate of loopback's and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / "loopback.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
