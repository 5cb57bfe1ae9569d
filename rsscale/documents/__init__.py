"""Documents that others wrote: bounded where they are parsed, checked where they come in."""

from rsscale.documents.json_text import (
    MAX_BYTES,
    MAX_DEPTH,
    DocumentError,
    finite,
    kind_of,
    read_json,
)

__all__ = ["MAX_BYTES", "MAX_DEPTH", "DocumentError", "finite", "kind_of", "read_json"]
