"""Look at a run in the browser: serve its product on this machine."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Self

from rsscale.errors import RecipeError
from rsscale.runs.run import Run
from rsscale.store.run_folder import RunFolder
from rsscale.viewer.imagery import make_imagery
from rsscale.viewer.pages import PublishedPages, RunPages
from rsscale.viewer.server import ProductServer

_HEIGHT = 640


class Viewer:
    """A product that is served on this machine until it is closed.

    In a notebook it shows the page; ``with rs.view(…) as viewer:`` closes it at the end.

    Attributes
    ----------
    url : str
        Address of the page.
    notes : list of str
        What is missing in the product, such as overviews.
    """

    def __init__(self, server: ProductServer, notes: list[str]) -> None:
        self._server = server
        self.url, self.notes = server.url, notes
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        while self._thread.is_alive():
            self._thread.join(1.0)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Viewer({self.url!r})"

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{self.url}" title="rsscale viewer" width="100%" height="{_HEIGHT}" '
            f'style="border:1px solid #ccc"></iframe><p><a href="{self.url}">{self.url}</a></p>'
        )


def view(
    run: str | os.PathLike[str] | Run,
    *,
    port: int = 0,
    imagery: bool = False,
    stretch: tuple[float, float] | None = None,
) -> Viewer:
    """Serve a run's product for the browser: layers, years, swipe, values and scenes of a pixel.

    The page reads the Zarr stores directly, by ranges of bytes. It is served to this machine only
    (127.0.0.1), and loads nothing from elsewhere.

    Parameters
    ----------
    run : Run, path or address
        A run folder, finished or not, or a folder that holds a published product with its viewer;
        ``s3://…`` is read through this machine.
    port : int
        0 takes any that is free.
    imagery : bool
        First make a pyramid of the run's imagery to compare the map with, if it is not there; see
        :func:`rsscale.viewer.imagery.make_imagery`.
    stretch : (float, float), optional
        What becomes black and white in the imagery, in the values of the composite; from a sample
        of the product when omitted.

    Returns
    -------
    Viewer
        ``.url``; in a notebook it shows the page. ``.close()`` ends it.

    Raises
    ------
    RunFolderError
        When the folder is no run and no published product, or has no layers.
    RecipeError
        When the port is taken, no input has bands to look at, or the stretch has no imagery.

    Examples
    --------
    >>> with rs.view("out/landcover") as viewer:  # doctest: +SKIP
    ...     print(viewer.url)
    """
    folder = run.folder if isinstance(run, Run) else RunFolder.at(run)
    if stretch is not None and not imagery:
        raise RecipeError("a stretch is for the imagery; ask for that too (--imagery)")
    if imagery:
        make_imagery(folder, stretch)
    is_published = not folder.exists and folder.storage.exists("viewer/viewer.json")
    pages = PublishedPages(folder) if is_published else RunPages(folder)
    try:
        server = ProductServer(pages, port)
    except (OSError, OverflowError) as error:
        raise RecipeError(
            f"port {port} can't be listened to ({error}); choose another, or 0 for any that is free"
        ) from None
    return Viewer(server, list(pages.document.get("notes", ())))
