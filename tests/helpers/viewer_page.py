"""The viewer's page in a tab of Chromium: what it paints, says and asks for."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image

SIZE = {"width": 1200, "height": 800}
PANEL = 320  # pixels of the screen left of the map
CENTRE = (735_500.0, 4_983_500.0)


class Page:
    """A tab, with what went wrong in it and which hosts it asked."""

    def __init__(self, chromium: Any, url: str, **size: int) -> None:
        self.tab = chromium.new_page(viewport=size or SIZE)
        self.url, self.problems, self.requests = url, [], []
        self.tab.on("console", lambda line: self.problems.append(line.text))
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))

    def open(self, fragment: str = "") -> Page:
        self.tab.goto("about:blank")
        self.tab.goto(f"{self.url}#{fragment}")
        self.tab.wait_for_selector("body.painted")
        return self.settled()

    def settled(self) -> Page:
        """Wait until all that is to be seen is painted, and what was asked for is read."""
        self.tab.wait_for_load_state("networkidle")
        self.tab.wait_for_selector("#map[aria-busy=false]")
        # Two frames: what was drawn is on the screen.
        self.tab.evaluate(
            "new Promise(then => requestAnimationFrame(() => requestAnimationFrame(then)))"
        )
        return self

    def state(self) -> dict[str, str]:
        self.tab.wait_for_timeout(250)  # the address is written a moment after the last change
        return {k: v[0] for k, v in parse_qs(urlsplit(self.tab.url).fragment).items()}

    def picture(self) -> np.ndarray:
        image = Image.open(io.BytesIO(self.tab.screenshot()))
        return np.asarray(image.convert("RGB"))[:, PANEL:]

    def click(self, x: float, y: float, resolution: float) -> None:
        """Click a place of the map by its coordinates."""
        width, height = SIZE["width"] - PANEL, SIZE["height"]
        right = PANEL + width / 2 + (x - CENTRE[0]) / resolution
        down = height / 2 - (y - CENTRE[1]) / resolution
        self.tab.keyboard.press("Escape")
        self.tab.mouse.click(right, down)
        self.tab.wait_for_selector("#place #years")
        self.settled()
