"""Store what `--help` prints in docs/cli, for the reference: run `python docs/help_pages.py` when an option changes."""

from pathlib import Path

from click.testing import CliRunner

from mri_iahvae.cli import main

FOLDER = Path(__file__).parent / "cli"
_WIDTH = 100


def help_pages() -> dict[str, str]:
    """Text of each page by file name, as if printed on a terminal of 100 columns."""
    commands = {"mri-iahvae.txt": [], **{f"{name}.txt": [name] for name in main.entries}}
    pages = {}
    for page, command in commands.items():
        result = CliRunner().invoke(main, [*command, "--help"], prog_name="mri-iahvae", terminal_width=_WIDTH)
        if result.exit_code:
            raise SystemExit(f"{page}: --help ended with exit code {result.exit_code}: {result.output}")
        pages[page] = result.output
    return pages


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    pages = help_pages()
    for path in FOLDER.glob("*.txt"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text)
