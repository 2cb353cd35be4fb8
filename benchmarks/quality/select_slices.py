"""Take the reporting or the tuning slices out of an npz of magnitude images, ready for `mri-iahvae simulate`.

    python -m benchmarks.quality.select_slices VAL.npz reporting.npz
    python -m benchmarks.quality.select_slices TRAIN.npz tuning.npz --tuning
    mri-iahvae simulate reporting.npz -o data/reporting

`reporting_slices.txt` names 48 validation slices, spread over sources, contrasts and planes; `tuning_slices.txt` six
slices, evenly spaced, of each of the four training subjects that no network was trained on.
"""

from pathlib import Path

import click
import numpy as np

HERE = Path(__file__).parent


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--tuning", is_flag=True, help="Take the tuning slices.")
def main(source: Path, output: Path, *, tuning: bool) -> None:
    """Write the slices of SOURCE that are named in the list to OUTPUT (arrays `images`, `subject`, `item`)."""
    wanted = (HERE / f"{'tuning' if tuning else 'reporting'}_slices.txt").read_text().split()
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
