"""The tables of README and model card, from the measured rows.

    python benchmarks/quality_tables.py benchmarks/quality.json --table1 benchmarks/table1.json

They stand between `<!-- quality:begin -->` and `<!-- quality:end -->` (`table1` likewise): the short one in the README,
the full ones in the model card.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import click
from quality_results import Rows

from mri_iahvae.files import atomic_path

ROOT = Path(__file__).parents[1]

COLUMNS = {
    "zero-filled, noisy": ("zero-filled", "noisy"),
    "total variation": ("total variation",),
    "wavelets": ("L1-wavelet", "wavelet shrinkage"),
    "BM3D": ("BM3D",),
    "U-Net": ("U-Net",),
    "ours, amortized": ("amortized",),
    "ours": ("hybrid N=10",),
    "ours, 4 shifts": ("hybrid N=10, 4 shifts",),
}
"""Of the short table: the method of each column, or the one of these that the task has."""

SCORES = {
    "nmse": ("NMSE", ".4f"),
    "psnr": ("PSNR (dB)", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "nll": ("NLL", ".2f"),
    "negative_elbo": ("-ELBO", ".2f"),
    "active_units": ("active units", ".1%"),
    "fid": ("FID", ".1f"),
    "seconds_per_slice": ("s / slice", ".2f"),
}


def short(tasks: Rows) -> str:
    """NMSE, a line for each task and a column for each method, the best in bold; columns without any are left out."""
    cells = {
        task: {
            label: next((rows[name]["nmse"] for name in names if name in rows), None)
            for label, names in COLUMNS.items()
        }
        for task, rows in tasks.items()
    }
    labels = [label for label in COLUMNS if any(line[label] is not None for line in cells.values())]
    lines = ["| task | " + " | ".join(labels) + " |", "| --- " * (len(labels) + 1) + "|"]
    for task, line in cells.items():
        best = min(value for value in line.values() if value is not None)
        texts = ["" if line[label] is None else f"{line[label]:.4f}" for label in labels]
        lines.append(
            " | ".join([f"| {task}", *(f"**{t}**" if t == f"{best:.4f}" else t for t in texts)]) + " |"
        )
    return "\n".join(lines) + "\n"


def full(tasks: Rows) -> str:
    """All scores, a line for each task and method; columns without any are left out."""
    rows = [(task, method, row) for task, methods in tasks.items() for method, row in methods.items()]
    shown = {key: value for key, value in SCORES.items() if any(key in row for _, _, row in rows)}
    lines = [
        "| task | method | " + " | ".join(head for head, _ in shown.values()) + " |",
        "| --- " * (len(shown) + 2) + "|",
    ]
    for task, method, row in rows:
        texts = [format(row[key], form) if key in row else "" for key, (_, form) in shown.items()]
        lines.append(" | ".join([f"| {task}", method, *texts]) + " |")
    return "\n".join(lines) + "\n"


def replace_between(text: str, name: str, table: str) -> str:
    """The text with another table between the marks of that name.

    Raises:
        ValueError: the marks are missing.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    found = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{table}{end}", text, flags=re.DOTALL)
    if found[1] != 1:
        raise ValueError(f"expected one pair of {begin.strip()} and {end}, found {found[1]}")
    return found[0]


def _write(document: Path, tables: Mapping[str, str]) -> None:
    text = document.read_text()
    for name, table in tables.items():
        try:
            text = replace_between(text, name, table)
        except ValueError as error:
            raise click.ClickException(f"{document}: {error}") from None
    with atomic_path(document) as part:
        part.write_text(text)
    click.echo(f"wrote {document}: {', '.join(tables)}")


@click.command()
@click.argument("quality", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--table1", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Rows of table1.py."
)
@click.option(
    "--readme", type=click.Path(exists=True, path_type=Path), default=ROOT / "README.md", show_default="ours"
)
@click.option(
    "--card",
    type=click.Path(exists=True, path_type=Path),
    default=ROOT / "pretrained" / "small" / "MODEL_CARD.md",
    show_default="that of small",
)
def main(quality: Path, table1: Path | None, readme: Path, card: Path) -> None:
    """Write the rows of QUALITY, made by quality.py, into the documents."""
    tasks = json.loads(quality.read_text())["tasks"]
    _write(readme, {"quality": short(tasks)})
    tables = {"quality": full(tasks)}
    if table1 is not None:
        tables["table1"] = full(json.loads(table1.read_text())["tasks"])
    _write(card, tables)


if __name__ == "__main__":
    main()
