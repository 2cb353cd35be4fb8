"""Arrays in files of the kinds that readers take, written without the project."""

import h5py
import numpy as np


def save_array(path, values, name="array"):
    """Write npy, npz, HDF5, or a BART pair of the array's dimensions, by the suffix; `name` is that of the array."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **{name: values})
    elif path.suffix == ".cfl":
        path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, values.shape))}\n")
        path.write_bytes(values.astype("<c8").tobytes(order="F"))
    else:
        with h5py.File(path, "w") as file:
            file[name] = values
    return path
