"""Scores of tasks and methods as Markdown tables."""

from collections.abc import Sequence

from benchmarks.quality.rows import Rows

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


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of a head and rows of cells."""
    return markdown([head, ["---"] * len(head), *rows])
