"""Take the reporting slices out of an npz of magnitude images, ready for `mri-iahvae simulate`.

    python -m benchmarks.quality.select_slices VAL.npz reporting.npz
    mri-iahvae simulate reporting.npz -o data/reporting

The list, `reporting_slices.txt`, holds 48 validation slices by item name, spread over sources, contrasts and
planes.
"""

from pathlib import Path

import click
import numpy as np

LIST = Path(__file__).with_name("reporting_slices.txt")


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
def main(source: Path, output: Path) -> None:
    """Write the slices of SOURCE that are named in the list to OUTPUT (arrays `images`, `subject`, `item`)."""
    wanted = LIST.read_text().split()
    with np.load(source) as archive:
        arrays = {name: archive[name] for name in ("images", "subject", "item")}
    where = {str(item): number for number, item in enumerate(arrays["item"])}
    missing = [item for item in wanted if item not in where]
    if missing:
        raise click.ClickException(f"{source}: lacks {len(missing)} of the slices, the first is {missing[0]}")
    chosen = [where[item] for item in wanted]
    np.savez_compressed(output, **{name: values[chosen] for name, values in arrays.items()})
    click.echo(f"{output}: {len(chosen)} slices")


if __name__ == "__main__":
    main()
