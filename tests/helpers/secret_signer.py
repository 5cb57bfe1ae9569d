"""Signers whose signature is a secret that may be written nowhere."""

SECRET = "s3cretSignature0815"  # noqa: S105 -- of the tests


def sign(url):
    return f"{url}?sig={SECRET}"


def fails(url):
    raise ValueError(f"{url} can't be signed with {SECRET}")
