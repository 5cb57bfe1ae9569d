"""Command that shows what a run has made in the browser: view."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from rsscale.cli.application import command
from rsscale.cli.options import RunPath


@command
def view(
    folder: RunPath,
    port: Annotated[int, typer.Option(help="At 127.0.0.1; 0 takes any that is free.")] = 0,
    imagery: Annotated[
        bool,
        typer.Option(
            "--imagery", help="First make a pyramid of the imagery, to compare the map with."
        ),
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser", help="Also open the page in the browser.")
    ] = False,
) -> None:
    """Look at a run's maps in the browser; Ctrl-C ends it."""
    from rsscale.viewer.view import view as serve

    viewer = serve(folder, port=port, imagery=imagery)
    with suppress(KeyboardInterrupt), viewer:
        for note in viewer.notes:
            print(note)
        print(f"{viewer.url}  (Ctrl-C ends it)", flush=True)
        if browser:
            import webbrowser

            webbrowser.open(viewer.url)
        viewer.wait()
