"""HTML of notebooks: escaped, without script, in the notebook's own colours."""

from html.parser import HTMLParser

from rsscale.legend.classes import LandClass
from rsscale.legend.legend import Legend
from rsscale.monitoring.run_html import run_html
from rsscale.text.html_tables import (
    Bar,
    Cell,
    block,
    heading,
    pairs,
    preformatted,
    small_lines,
    table,
)


class Reader(HTMLParser):
    """Tags and texts; every tag that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.styles += [value or "" for name, value in attrs if name == "style"]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_all_text_is_escaped() -> None:
    bad = "<script>alert(1)</script>"
    html = block(
        heading(bad, bad),
        table([[bad, Cell(bad, color="#ff0000")]], [bad, bad]),
        pairs([(bad, bad)]),
        small_lines([bad, ""]),
        preformatted([bad]),
    )
    read = Reader(html)
    assert "script" not in read.tags
    assert read.texts.count(bad) == 10


def test_a_notebook_keeps_its_colours_of_text_and_background() -> None:
    read = Reader(block(heading("a"), table([["a", "1"]], ["b", "c"]), small_lines(["d"])))
    for style in read.styles:
        for rule in style.split(";"):
            name, _, value = rule.partition(":")
            if name in ("color", "background"):
                assert value in ("inherit", "transparent")


def test_columns_stand_as_they_are_told() -> None:
    read = Reader(table([["a", "b", "c", "d"]], align="lrl"))
    sides = [style.split(";")[0].split(":")[1] for style in read.styles if "text-align" in style]
    assert sides == ["left", "right", "left", "left"]


def test_a_bar_is_never_wider_than_its_place() -> None:
    read = Reader(table([[Bar(1.7), Bar(0.25, 0.5)]]))
    widths = [
        rule.split(":")[1]
        for style in read.styles
        for rule in style.split(";")
        if rule.startswith("width") and rule.endswith("%")
    ]
    assert widths == ["100.0%", "25.0%", "50.0%"]


def test_a_legend_has_its_colours() -> None:
    legend = Legend([LandClass(3, "built-up & roads", "#d7301f")])
    assert legend.names == ("built-up & roads",)
    assert legend == (LandClass(3, "built-up & roads", "#d7301f"),)
    read = Reader(legend._repr_html_())
    assert any("#d7301f" in style for style in read.styles)
    assert read.texts == ["class", "value", "colour", "built-up & roads", "3", "#d7301f"]


RUNNING = {
    "state": "running",
    "tiles": {"total": 20, "done": 4, "failed": 1},
    "in_flight": 2,
    "rate": {"seconds_left": 93.4},
    "seconds": 12.5,
    "peak_rss_bytes": 3 * 2**20,
    "order": ["map", "change"],
    "steps": {
        "change": {"kind": "post-classification", "tiles": {"total": 4}, "gathered": "tables/a"},
        "map": {
            "kind": "predict", "tiles": {"total": 16, "done": 4, "failed": 1},
            "spans": ["2023", "2024"], "layers": [{}], "store": "map", "facts": {"pixels": 5e6},
        },
    },
    "failed": [{"key": "map 2023 x1_y2", "error": "ReadError: <404>"}],
}  # fmt: skip


def test_a_run_shows_how_far_it_is_and_what_failed() -> None:
    read = Reader(run_html(RUNNING, "out/a"))
    text = " ".join(read.texts)
    assert "running: 4 of 20 tiles, 1 failed" in text
    assert "2 in flight, about 93 s left" in text
    assert "failed map 2023 x1_y2: ReadError: <404>" in text
    assert "5.00 Mpx in 12.5 s, peak memory of a process 3 MiB" in text
    assert "map: out/a/product.zarr" in text
    assert text.index("predict") < text.index("post-classification")  # in the order of the run
    assert any("width:25.0%" in style for style in read.styles)


def test_a_run_whose_process_is_gone_says_how_to_go_on() -> None:
    dead = {"dead": {"pid": 7, "host": "node-3", "go_on": "rsscale resume out/a"}}
    text = " ".join(Reader(run_html(RUNNING | dead, "out/a")).texts)
    assert "dead: 4 of 20" in text
    assert "go on with: rsscale resume out/a" in text
    assert "s left" not in text


def test_a_state_that_was_half_written_is_shown() -> None:
    assert "unknown: 0 of 0 tiles" in " ".join(Reader(run_html({}, "a")).texts)
