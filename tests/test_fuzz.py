"""Whatever bytes come, they are read or refused in one line: a sample of `benchmarks/fuzz.py`, and strange values.

The sample runs in workers with limits, so that a crash or a hang within a library fails the test instead of ending it.
"""

import json
import os
import signal
import time
import warnings
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mri_iahvae.errors import CheckpointError, IahvaeError, ScanError
from mri_iahvae.model.checkpoint_config import model_config
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.presets import preset
from mri_iahvae.scans.header import parse_header
from mri_iahvae.scans.mask_file import read_mask_file, require_mask, to_mask
from mri_iahvae.scans.reader import open_scan

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MUTATIONS = 520  # 40 of each kind

# One folder serves all examples of a test: each writes its file anew.
fuzzed = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def one_line(error):
    assert "\n" not in str(error)
    assert 0 < len(str(error)) < 1000


def test_damaged_files_are_read_or_refused():
    from fuzz import Limits, fuzz, summary  # noqa: PLC0415

    cases = fuzz(range(MUTATIONS), 1, Limits(seconds=20))
    found = summary(cases)
    assert found["failed"] == []
    assert [case.number for case in cases] == list(range(MUTATIONS))
    assert max(case.mib for case in cases) < 512
    # Damage that is always refused, or never, would test nothing.
    assert 0.05 < found["outcomes"]["read"] / MUTATIONS < 0.5
    assert len({case.detail for case in cases}) > 100


def fake(behaviour):
    from fuzz_subjects import Subject  # noqa: PLC0415

    return Subject(lambda folder: (folder / "a.txt").write_text("a" * 100), behaviour)


def ends(_):
    os.kill(os.getpid(), signal.SIGKILL)


def sleeps(_):
    time.sleep(60)


def swallows(_):
    np.ones(2**31)


def warns(_):
    warnings.warn("odd", RuntimeWarning, stacklevel=1)


def chatters(_):
    raise ScanError("one\ntwo")


def peeks(path):
    (path.parents[1] / "outside.h5").read_bytes()


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # the worker has to know a subject of this file
@pytest.mark.parametrize(
    ("behaviour", "outcome", "detail"),
    [
        (ends, "crashed", "exit code -9"),
        (sleeps, "hung", "exit code -14"),
        (swallows, "crashed", "MemoryError"),
        (warns, "crashed", "RuntimeWarning: odd"),
        (chatters, "crashed", "not one line"),
        (peeks, "crashed", "outside was opened"),
    ],
)
def test_the_harness_sees_what_it_looks_for(monkeypatch, behaviour, outcome, detail):
    import fuzz  # noqa: PLC0415

    monkeypatch.setitem(fuzz.SUBJECTS, "fake", fake(behaviour))
    monkeypatch.setattr(fuzz, "START", "fork")
    cases = fuzz.fuzz(range(2), 0, fuzz.Limits(seconds=0.5, mib=1024), ("fake",))
    assert [(case.number, case.outcome) for case in cases] == [(0, outcome), (1, outcome)]
    assert all(detail in case.detail for case in cases)


def test_a_case_is_known_by_seed_and_number(tmp_path):
    from fuzz import SUBJECTS, build, one_case  # noqa: PLC0415

    build(tmp_path, ("npy", "header"))
    assert SUBJECTS
    runs = [
        [one_case(number, seed, tmp_path, ("npy", "header"), lambda: False) for number in range(20)]
        for seed in (3, 3, 4)
    ]
    details = [[(case.subject, case.outcome, case.detail) for case in run] for run in runs]
    assert details[0] == details[1] != details[2]


@fuzzed
@given(st.text(max_size=300), st.integers(0, 20))
def test_headers(text, repeats):
    try:
        parse_header(f"<a>{text * repeats}</a>" if repeats else text)
    except ValueError as error:
        one_line(error)


@fuzzed
@given(
    hnp.arrays(
        hnp.scalar_dtypes() | hnp.byte_string_dtypes() | hnp.unicode_string_dtypes(),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_masks(values):
    try:
        require_mask("mask.npy", values.shape, values.dtype, (4, 5))
        mask = to_mask("mask.npy", values, (4, 5))
    except ScanError as error:
        one_line(error)
    else:
        assert mask.shape == (4, 5)
        assert values.sum() * (20 // values.size) == mask.sum()


@fuzzed
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".npy", ".npz", ".h5"]))
def test_mask_files(tmp_path, content, suffix):
    path = tmp_path / f"mask{suffix}"
    path.write_bytes(
        {".npy": b"\x93NUMPY\x01\x00", ".npz": b"PK\x03\x04", ".h5": b"\x89HDF\r\n\x1a\n"}[suffix] + content
    )
    with pytest.raises(ScanError) as caught:
        read_mask_file(path, 4, 5)
    one_line(caught.value)


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


@fuzzed
@given(st.data())
def test_configurations(tmp_path, data):
    values = json.loads(json.dumps(asdict(preset("tiny"))))
    key = data.draw(st.sampled_from([*values, "other"]))
    values[key] = data.draw(json_values)
    if data.draw(st.booleans()):
        values = {**values, "scales": [{**values["scales"][0], "channels": data.draw(json_values)}]}
    try:
        config = ModelConfig.from_json(values)
    except CheckpointError as error:
        one_line(error)
    else:
        assert config.least_weights > 0
        assert ModelConfig.from_json(config.to_json()) == config


@fuzzed
@given(json_values, st.sampled_from(["description", "slices", "mean", "deviation", "limit"]))
def test_domains(value, key):
    whole = Domain("head", 9, (-1.0, -2.0, -3.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)).to_json()
    for values in (value, {**whole, key: value}):
        try:
            Domain.from_json(values)
        except CheckpointError as error:
            one_line(error)


@fuzzed
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_config_files(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(IahvaeError) as caught:
        model_config(tmp_path)
    one_line(caught.value)
