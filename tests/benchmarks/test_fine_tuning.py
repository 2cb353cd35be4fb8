"""The table and figure of fine-tuning."""

import json

from benchmarks.beyond.fine_tuning import main
from tests.commands import run


def test_changes_are_of_each_size_against_the_first_file(tmp_path):
    for name, values in {"before": (0.1, 0.4), "after": (0.05, 0.3)}.items():
        rows = {size: {"up to 8x8": {"nmse": value}} for size, value in zip(("a", "b"), values, strict=True)}
        (tmp_path / name).write_text(json.dumps({"results": rows}))
    picture = tmp_path / "figure.png"
    files = f"0={tmp_path / 'before'}", f"1000={tmp_path / 'after'}"
    result = run(main, *files, "-o", picture)
    assert "| up to 8x8 | +0.0 (+0.0 to +0.0) | -37.5 (-50.0 to -25.0) |" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
