"""Examples of every command, and the groups in which the help has them."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "Prepare": ("demo", "doctor", "simulate", "search", "recipe", "train", "model"),
    "Run": ("plan", "run", "resume", "status", "verify"),
    "Measure": ("design", "assess", "gates", "transitions"),
    "Publish": ("export", "objects", "report", "publish"),
    "Look": ("quicklook", "view"),
}
"""Commands by what they are for; a command that is in none stands at the end."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("rsscale demo", "rsscale demo --out try --size 500"),
    "doctor": ("rsscale doctor", "rsscale doctor recipe.yaml --out /data/runs"),
    "simulate": ("rsscale simulate archive --size 600 --years 2023,2024 --dates 8",),
    "search": (
        (
            "rsscale search https://earth-search.aws.element84.com/v1 --collection sentinel-2-l2a "
            "--bbox 5.73,49.44,6.54,50.19 --datetime 2023-06/2023-08"
        ),
        "rsscale search archive/catalog.json --datetime 2023 --out items.parquet",
    ),
    "recipe new": (
        "rsscale recipe new",
        (
            "rsscale recipe new --catalog https://earth-search.aws.element84.com/v1 --collection "
            "sentinel-2-l2a --area area.gpkg --periods 2023,2024 --labels labels.gpkg --class name"
        ),
    ),
    "recipe schema": ("rsscale recipe schema > rsscale.schema.json",),
    "train": (
        "rsscale train recipe.yaml",
        "rsscale train recipe.yaml --out models/b --set train.steps=5000",
        "rsscale train recipe.yaml --compare",
    ),
    "model show": ("rsscale model show model",),
    "model check": ("rsscale model check model recipe.yaml",),
    "plan": (
        "rsscale plan recipe.yaml",
        "rsscale plan recipe.yaml --pilot 8 --cluster local:4 --worker-hour 0.4 --gigabyte 0.02",
    ),
    "run": (
        "rsscale run recipe.yaml --out out --cluster local:4",
        "rsscale run recipe.yaml --out out --dry-run",
        "rsscale run recipe.yaml --out s3://bucket/out --cluster tcp://scheduler:8786 --update",
    ),
    "resume": ("rsscale resume out", "rsscale resume out --cluster local:4"),
    "status": ("rsscale status out", "rsscale status out --json"),
    "verify": ("rsscale verify out", "rsscale verify out --repair"),
    "assess": (
        "rsscale assess out --sample sample.gpkg",
        "rsscale assess out --reference truth.gpkg --class landcover --exclude labels.gpkg",
        "rsscale assess out --objects truth.gpkg --step ponds",
    ),
    "quicklook": ("rsscale quicklook out", "rsscale quicklook out --layer confidence"),
    "export": (
        "rsscale export out --to maps",
        "rsscale export out --to map.tif --layer classification --period 2023",
    ),
    "objects": ("rsscale objects out --to objects.gpkg --step ponds",),
    "transitions": ("rsscale transitions out --to transitions",),
    "design": (
        "rsscale design out --to sample.gpkg --strata class --standard-error 0.01",
        (
            "rsscale design out --to change.gpkg --period 2023 --period 2024 --strata transition "
            "--size 600"
        ),
    ),
    "gates": ("rsscale gates out", "rsscale gates out --recipe recipe.yaml"),
    "report": ("rsscale report out",),
    "publish": (
        "rsscale publish out published",
        "rsscale publish out s3://bucket/map --cogs tile",
    ),
    "view": (
        "rsscale view out",
        "rsscale view out --imagery --browser",
        "rsscale view out --imagery --stretch 0 255",
    ),
}
"""By the words of the command. Tests read each of them as the command would."""


def group_of(name: str) -> str | None:
    """The group of a command."""
    return next((group for group, names in GROUPS.items() if name in names), None)


def place_of(name: str) -> int:
    """Where a command stands in the help: by the groups, in the order that these name them."""
    names = [name for names in GROUPS.values() for name in names]
    return names.index(name) if name in names else len(names)


def epilog_of(words: str) -> str | None:
    """What stands below a command's help: its examples, a line each."""
    lines = EXAMPLES.get(words, ())
    return "\n\n".join(["Examples:", *lines]) if lines else None
