"""Write the tables of README, model card and results pages from the measured rows: each stands between its two marks.

python -m benchmarks.quality.tables
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks.quality.rows import Rows
from mri_iahvae.files import atomic_path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
METHODS = {
    "zero-filled, noisy": ("zero-filled", "noisy"),
    "total variation": ("total variation",),
    "wavelets": ("L1-wavelet", "wavelet shrinkage"),
    "BM3D": ("BM3D",),
    "U-Net": ("U-Net",),
    "ours, fast": ("fast",),
    "ours, default": ("default",),
}
"""Columns: the method of each, or the one of these that the task has; ours by the names of `--quality`."""
IN_README = {label: names for label, names in METHODS.items() if label != "wavelets"}
OURS = {label: names for label, names in METHODS.items() if label.startswith("ours")}
OWN = {"zero-filled, noisy": METHODS["zero-filled, noisy"], **OURS}
README_TASKS = ("up to 32x32", "random columns 4x / 0.08", "2-D variable density 6x", "denoise 0.2")
SCORES = {
    "nmse": ("NMSE", ".4f"),
    "psnr": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "nll": ("NLL", ".2f"),
    "negative_elbo": ("-ELBO", ".2f"),
    "active_units": ("active units", ".1%"),
    "seconds_per_slice": ("s / slice", ".2f"),
}


def short(tasks: Rows, columns: dict[str, tuple[str, ...]] | None = None, score: str = "nmse") -> str:
    """One score, a line for each task and a column for each method, the lowest in bold.

    Args:
        tasks: the rows.
        columns: as in `METHODS`; None: every method under its own name. Columns without any are left out.
        score: key of the rows.
    """
    if columns is None:
        columns = {name: (name,) for rows in tasks.values() for name in rows}
    form = SCORES[score][1]
    cells = {
        task: {
            label: next((format(rows[name][score], form) for name in names if name in rows), "")
            for label, names in columns.items()
        }
        for task, rows in tasks.items()
    }
    labels = [label for label in columns if any(line[label] for line in cells.values())]
    lines = [["task", *labels], ["---"] * (len(labels) + 1)]
    for task, line in cells.items():
        best = min((text for text in line.values() if text), key=float)
        lines.append(
            [task, *(f"**{line[label]}**" if line[label] == best else line[label] for label in labels)]
        )
    return markdown(lines)


def full(tasks: Rows) -> str:
    """All scores, a line for each task and method; columns without any are left out."""
    rows = [(task, method, row) for task, methods in tasks.items() for method, row in methods.items()]
    shown = {key: value for key, value in SCORES.items() if any(key in row for _, _, row in rows)}
    lines = [["task", "method", *(head for head, _ in shown.values())], ["---"] * (len(shown) + 2)]
    for task, method, row in rows:
        scores = [format(row[key], form) if key in row else "" for key, (_, form) in shown.items()]
        lines.append([task, method, *scores])
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells."""
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def readme(tasks: Rows) -> Rows:
    """The tasks that the README shows."""
    return {name: tasks[name] for name in README_TASKS}


def times(tasks: Rows) -> str:
    """Seconds of a slice by our methods."""
    return short(tasks, OURS, "seconds_per_slice").replace("**", "")


Table = Callable[[Rows], str]
TABLES: dict[str, dict[str, tuple[str, Table]]] = {
    "README.md": {
        "quality": ("quality", lambda rows: short(readme(rows), IN_README)),
        "time": ("quality", lambda rows: times(readme(rows))),
    },
    "docs/which-options.md": {
        "time": ("quality", times),
        "quality": ("quality", lambda rows: short(rows, OWN)),
    },
    "pretrained/small/MODEL_CARD.md": {"quality": ("quality", lambda rows: short(rows, METHODS))},
    "docs/results/quality.md": {"quality": ("quality", full)},
    "docs/results/paper-table-1.md": {"table1": ("table1", full)},
    "docs/results/generated-files.md": {
        "nmse": ("generated", short),
        "ssim": ("generated", lambda rows: short(rows, score="ssim").replace("**", "")),
        "time": ("generated", lambda rows: short(rows, score="seconds_per_slice").replace("**", "")),
    },
}
"""Of each document: name of the marks, the JSON file of the rows, and what makes the table."""


def tables(document: str) -> dict[str, str]:
    """The tables of a document by the names of their marks."""
    return {
        name: make(json.loads((HERE / f"{rows}.json").read_text())["tasks"])
        for name, (rows, make) in TABLES[document].items()
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
    for name in TABLES:
        text = (ROOT / name).read_text()
        for mark, table in tables(name).items():
            text = replace_between(text, mark, table)
        with atomic_path(ROOT / name) as part:
            part.write_text(text)
        click.echo(f"wrote {name}")


if __name__ == "__main__":
    main()
