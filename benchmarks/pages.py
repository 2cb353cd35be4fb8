"""Write the tables of README, model card and results pages from the measured numbers, each between its two marks.

python -m benchmarks.pages
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from benchmarks.quality.tables import METHODS, full, grid, short
from mri_iahvae.files import atomic_path

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent

IN_README = {label: names for label, names in METHODS.items() if label != "wavelets"}
OURS = {label: names for label, names in METHODS.items() if label.startswith("ours")}
OWN = {"zero-filled, noisy": METHODS["zero-filled, noisy"], **OURS}
README_TASKS = ("up to 32x32", "random columns 4x / 0.08", "2-D variable density 6x", "denoise 0.2")
NATIVE_SIZES = {
    "640x368": "640x368, padded",
    "640x372": "640x372",
    "640x371": "640x371",
    "512x320": "512x320",
    "640x264": "640x264, narrow",
}
NATIVE_TASKS = {
    "random columns 4x": "4x",
    "random columns 8x": "8x",
    "up to 32x32": "32x32",
    "denoise": "denoise",
}
COIL_METHODS = {
    "zero-filled RSS": "zero-filled RSS",
    "SENSE": "SENSE",
    "L1-ESPIRiT": "L1-ESPIRiT (sigpy, wavelets shifted at random)",
    "ours, RSS": "ours, RSS, measured bins kept (default)",
    "ours, sensitivity, soft": "ours, sensitivity-weighted, soft",
}
WITHIN = ("within 1", "within 2", "within 3")
FIXED = "fixed order"

Found = dict[str, Any]
"""What a JSON file of the benchmarks holds."""


def readme(found: Found) -> Found:
    """The tasks that the README shows."""
    return {name: found["tasks"][name] for name in README_TASKS}


def times(tasks: Found) -> str:
    """Seconds of a slice by our methods."""
    return short(tasks, OURS, "seconds_per_slice").replace("**", "")


def both(row: Found) -> str:
    """NMSE and SSIM."""
    return f"{row['nmse']:.4f} / {row['ssim']:.3f}"


def calibration(found: Found) -> str:
    """Samples of one coil, at temperature 1."""
    rows = []
    for task, temperatures in found["tasks"].items():
        row = temperatures["1.0"]
        rows.append(
            [
                task,
                f"{row['nmse']:.3f}",
                f"{row['error / variance']:.2f}",
                *(f"{row[key]:.3f}" for key in WITHIN),
                f"{row['in phase']:.2f}",
            ]
        )
    return grid(["task", "NMSE of the mean", "error / variance", *WITHIN, "in phase"], rows)


def coils(found: Found) -> str:
    """Methods for several coils."""
    tasks = found["rows"]
    rows = [
        [
            label,
            *(both(methods[name]) for methods in tasks.values()),
            f"{fmean(methods[name]['seconds_per_slice'] for methods in tasks.values()):.2f}",
        ]
        for name, label in COIL_METHODS.items()
    ]
    return grid(["", "random 4x", "equispaced 4x", "random 8x", "s / slice"], rows)


def coil_samples(found: Found, tuning: Found, fractions: Found) -> str:
    """Samples of several coils."""
    rows = [
        [
            task,
            f"{row['nmse']:.4f}",
            f"{row['error / variance']:.2f}",
            f"{tuning['calibration'][task]['error / variance']:.2f}",
            *(f"{row[key]:.3f}" for key in WITHIN),
            f"{fractions['rows'][task]['fraction']:.2f}",
        ]
        for task, row in found["calibration"].items()
    ]
    return grid(["task", "NMSE", "error / variance", "the same, tuning", *WITHIN, "left"], rows)


def coil_maps(found: Found) -> str:
    """Sensitivities of the calibration region against the true ones."""
    masks = found["own maps"].values()
    rows = [
        [label, *(f"{one[name]:.4f}" for one in masks)]
        for name, label in (("ESPIRiT", "calibration region (ESPIRiT)"), ("true", "true"))
    ]
    return grid(["", "random 4x", "equispaced 4x", "random 8x"], rows)


def native(*found: Found) -> str:
    """Zero-filled against ours at native sizes."""
    results = [one["results"] for one in found]
    tasks = [(rows, task) for rows in results for task in NATIVE_TASKS if task in rows["640x368"]]
    head = [
        f"{NATIVE_TASKS[task]} {score}" if score == "NMSE" else score
        for _, task in tasks
        for score in ("NMSE", "SSIM")
    ]
    lines = [
        [
            label,
            *(
                f"{rows[size][task][f'zero-filled {key}']:{form}} -> {rows[size][task][key]:{form}}"
                for rows, task in tasks
                for key, form in (("nmse", ".4f"), ("ssim", ".3f"))
            ),
        ]
        for size, label in NATIVE_SIZES.items()
    ]
    return grid(["k-space", *head], lines)


def hard(found: Found) -> str:
    """Phase jumps and strong noise."""
    rows = [
        [
            case,
            *(
                f"{value:.3f}"
                for value in (row["guide"]["zero-filled"], row["guide"]["nmse"], row["hybrid"]["nmse"])
            ),
            str(row["hybrid"]["worse"]),
        ]
        for case, row in found["cases"].items()
    ]
    return grid(["case", "zero-filled NMSE", "guide", "hybrid", "slices worse than zero-filled"], rows)


def series(found: Found) -> str:
    """Series against frame by frame, and total variation in time of the best weight."""
    lines = []
    for row in found["rows"]:
        nmse = {name: fmean(values) for name, values in row["nmse"].items()}
        variation = min((name for name in nmse if name.startswith("tv ")), key=lambda name: nmse[name])
        shown = ["zero-filled", variation, "frame by frame", "series"]
        best = min(shown, key=lambda name: nmse[name])
        lines.append(
            [
                row["sampling"],
                row["motion"],
                *(f"**{nmse[name]:.4f}**" if name == best else f"{nmse[name]:.4f}" for name in shown),
                f"{1 - nmse['series'] / nmse['frame by frame']:.0%}",
                variation.removeprefix("tv "),
                *(f"{row['seconds'][name]:.2f}" for name in shown[1:]),
            ]
        )
    names = ["total variation in time", "frame by frame", "series"]
    seconds = ["s, total variation", "s, frame by frame", "s, series"]
    return grid(["random columns", "motion", "zero-filled", *names, "gain", "weight", *seconds], lines)


def latents(found: Found) -> str:
    """Refinement that starts from the latents of the frame before."""
    lines = []
    for row in found["rows"]:
        usual, carried = (fmean(row["nmse"][name]) for name in ("usual", "carried"))
        lines.append(
            [
                row["estimate"],
                str(row["steps"]),
                f"{usual:.4f}",
                f"{carried:.4f}",
                f"{1 - carried / usual:.1%}",
            ]
        )
    return grid(["estimate", "steps", "usual start", "latents of the last frame", "gain"], lines)


def plan(found: Found) -> str:
    """Orders of columns; what comes after the fixed order is compared with it."""
    nmse = found["nmse"]
    names, counts = list(nmse), list(nmse[FIXED])
    lines = []
    for name in names:
        cells = []
        for count in counts:
            values, fixed = nmse[name][count], nmse[FIXED][count]
            change = f"{fmean(values) / fmean(fixed) - 1:+.0%}".replace("%", " %")
            lower = sum(value < other for value, other in zip(values, fixed, strict=True))
            compared = names.index(name) > names.index(FIXED)
            cells.append(f"{fmean(values):.4f}" + f" ({change}, {lower})" * compared)
        lines.append([name, *cells])
    return grid(["columns", *counts], lines)


def correlation(found: Found) -> str:
    """Stated errors against those made."""
    lines = []
    for task, row in found["tasks"].items():
        stated = row["stated"]
        values = [
            f"{value:.2f}" for value in (stated["pixel"], stated["pixel at best"], row["fast"]["region"])
        ]
        best = [f"**{row['default']['region']:.2f}**", f"{stated['region at best']:.2f}"]
        lines.append([task, *values, *best])
    head = ["pixel: stated", "at best", "region: stated (`fast`)", "with copies (`default`)", "at best"]
    return grid(["task", *head], lines)


def intervals(found: Found) -> str:
    """Expected errors and intervals, of both qualities."""
    lines = []
    for task, row in found["tasks"].items():
        for name, ending in (("default", ""), ("fast", ", fast")):
            one = row[name]
            lines.append(
                [
                    task + ending,
                    f"{one['error / expected']:.2f}",
                    *(f"{one[key]:.3f}" for key in ("worst tenth", "worst tenth at best")),
                    *(f"{one[key]:.3f}" for key in ("within, pixels", "within, slices")),
                    f"{one['within, least']:.3f} to {one['within, most']:.3f}",
                    f"{one['half-width']:.2f}",
                ]
            )
    within = ["within, all pixels", "within, mean of slices", "least and most of a slice"]
    head = [
        "task",
        "error / expected",
        "worst tenth: by the map",
        "at best",
        *within,
        "half-width / magnitude",
    ]
    return grid(head, lines)


def one_mask(found: Found, quality: Found) -> str:
    """The network for one mask, the guide that it started from, and the guide of today."""
    results = found["results"]
    lines = [
        [
            task,
            both(results["one mask"][task]),
            both(results["guide"][task]),
            both(quality["tasks"][task]["guide"]),
        ]
        for task in results["guide"]
    ]
    return grid(["task", "for one mask", "for all, before", "for all, today"], lines)


Table = Callable[..., str]
PAGES: dict[str, dict[str, tuple[tuple[str, ...], Table]]] = {
    "README.md": {
        "quality": (("quality/quality",), lambda found: short(readme(found), IN_README)),
        "time": (("quality/quality",), lambda found: times(readme(found))),
    },
    "docs/which-options.md": {
        "time": (("quality/quality",), lambda found: times(found["tasks"])),
        "quality": (("quality/quality",), lambda found: short(found["tasks"], OWN)),
    },
    "pretrained/small/MODEL_CARD.md": {
        "quality": (("quality/quality",), lambda found: short(found["tasks"], METHODS))
    },
    "docs/results/quality.md": {
        "quality": (("quality/quality",), lambda found: full(found["tasks"])),
        "one mask": (("quality/one_mask", "quality/quality"), one_mask),
    },
    "docs/results/paper-table-1.md": {"table1": (("quality/table1",), lambda found: full(found["tasks"]))},
    "docs/results/generated-files.md": {
        "nmse": (("quality/generated",), lambda found: short(found["tasks"])),
        "ssim": (("quality/generated",), lambda found: short(found["tasks"], score="ssim").replace("**", "")),
        "time": (
            ("quality/generated",),
            lambda found: short(found["tasks"], score="seconds_per_slice").replace("**", ""),
        ),
    },
    "docs/results/calibration.md": {"calibration": (("quality/calibration",), calibration)},
    "docs/results/multi-coil.md": {
        "methods": (("quality/coils",), coils),
        "samples": (("beyond/coils", "beyond/coils_tuning", "beyond/coil_fraction"), coil_samples),
        "sensitivities": (("beyond/coils",), coil_maps),
    },
    "docs/results/native-sizes.md": {
        "heads": (("quality/native", "quality/native_denoise"), native),
        "knees": (("quality/native_knee",), native),
    },
    "docs/results/phase-and-noise.md": {"hard": (("quality/hard",), hard)},
    "docs/results/series.md": {
        "series": (("beyond/series",), series),
        "latents": (("beyond/latents",), latents),
    },
    "docs/results/plan.md": {"plan": (("beyond/plan",), plan)},
    "docs/results/uncertainty.md": {
        "correlation": (("beyond/uncertainty",), correlation),
        "intervals": (("beyond/uncertainty",), intervals),
    },
}
"""Of each document: name of the marks, the JSON files of the numbers, and what makes the table of them."""


def tables(document: str) -> dict[str, str]:
    """The tables of a document by the names of their marks."""
    return {
        mark: make(*(json.loads((HERE / f"{name}.json").read_text()) for name in names))
        for mark, (names, make) in PAGES[document].items()
    }


def replace_between(text: str, name: str, table: str) -> str:
    """The text with another table between the marks of that name.

    Raises:
        click.ClickException: the marks are missing.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    found = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{table}{end}", text, flags=re.DOTALL)
    if found[1] != 1:
        raise click.ClickException(f"expected one pair of {begin.strip()} and {end}, found {found[1]}")
    return found[0]


@click.command()
def main() -> None:
    """Write all tables."""
    for name in PAGES:
        text = (ROOT / name).read_text()
        for mark, table in tables(name).items():
            text = replace_between(text, mark, table)
        with atomic_path(ROOT / name) as part:
            part.write_text(text)
        click.echo(f"wrote {name}")


if __name__ == "__main__":
    main()
