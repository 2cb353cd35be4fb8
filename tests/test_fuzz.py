"""Strange values in headers, masks, fields and configurations are read or refused in one line."""

import json
from dataclasses import asdict

import h5py
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mri_iahvae.errors import CheckpointError, ScanError
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.presets import preset
from mri_iahvae.scans.mask_file import require_mask, to_mask
from mri_iahvae.scans.reader import open_scan

# One folder serves all examples of a test: each writes its file anew.
fuzzed = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def one_line(error):
    assert "\n" not in str(error)
    assert 0 < len(str(error)) < 1000


@fuzzed
@given(
    hnp.arrays(
        hnp.scalar_dtypes() | hnp.byte_string_dtypes() | hnp.unicode_string_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_masks(values):
    try:
        require_mask("mask.npy", values.shape, values.dtype, (1, 4, 5))
        mask = to_mask("mask.npy", values, (1, 4, 5))
    except ScanError as error:
        one_line(error)
    else:
        assert mask.shape == (4, 5)
        assert values.sum() * (20 // values.size) == mask.sum()


@fuzzed
@given(
    name=st.sampled_from(["kspace", "mask", "reconstruction_esc", "noise_sigma", "ismrmrd_header"]),
    values=hnp.arrays(
        hnp.scalar_dtypes().filter(lambda t: t.kind not in "mM") | hnp.byte_string_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    attribute=st.booleans(),
)
def test_fields_of_a_scan(tmp_path, name, values, attribute):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.ones((2, 4, 4), np.complex64)
        if attribute:
            file.attrs["noise_sigma" if name == "noise_sigma" else "acquisition"] = values
        else:
            file.pop(name, None)
            file[name] = values
    try:
        scan = open_scan(path)
        for number in range(scan.slices):
            scan.read_coils(number)
    except ScanError as error:
        one_line(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@fuzzed
@given(st.data())
def test_configurations(data):
    values = json.loads(json.dumps(asdict(preset("tiny"))))
    scale = values["scales"][0]
    key = data.draw(st.sampled_from([*values, "other"]))
    values[key] = data.draw(json_values)
    if data.draw(st.booleans()):
        values = {**values, "scales": [{**scale, "channels": data.draw(json_values)}]}
    try:
        config = ModelConfig.from_json(values)
    except CheckpointError as error:
        one_line(error)
    else:
        assert config.least_weights > 0
        assert ModelConfig.from_json(config.to_json()) == config
