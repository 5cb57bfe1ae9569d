"""Read answers of catalogues within bounds: a small compressed body may decode to any size."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from rsscale.documents import MAX_BYTES
from rsscale.errors import CatalogError
from rsscale.text.redaction import shown

# What requests asks for without further packages. Others pack better still, and one within another
# decodes to the product of both.
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
_PIECE_BYTES = 2**16


class BoundedAdapter(HTTPAdapter):
    """Sends requests, and reads each answer, of redirects too, up to so many decoded bytes.

    Parameters
    ----------
    most : int
        Bytes of an answer's body, as it is decoded.
    **options
        Of :class:`requests.adapters.HTTPAdapter`.
    """

    def __init__(self, most: int = MAX_BYTES, **options: Any) -> None:
        self._most = most
        super().__init__(**options)

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send a request and read its answer.

        Raises
        ------
        CatalogError
            When the answer has more bytes, or comes in an encoding that nobody asked for.
        """
        request.headers["Accept-Encoding"] = "gzip, deflate"
        response = super().send(request, *args, **options)
        try:
            # What requests itself would do, had it a bound.
            response._content = self._body(response)  # noqa: SLF001
        except BaseException:
            response.close()
            raise
        return response

    def _body(self, response: requests.Response) -> bytes:
        encoding = str(response.headers.get("Content-Encoding") or "").strip().lower()
        if encoding not in _ENCODINGS:
            raise CatalogError(
                f"{shown(response.url)}: its answer is encoded as {encoding[:40]!r}; expected "
                "gzip, deflate or none: tell the catalogue's operator"
            )
        body = bytearray()
        for piece in response.iter_content(_PIECE_BYTES):
            body += piece
            if len(body) > self._most:
                raise CatalogError(
                    f"{shown(response.url)}: its answer has more than {self._most} bytes; expected "
                    "fewer: narrow the search, or tell the catalogue's operator"
                )
        return bytes(body)
