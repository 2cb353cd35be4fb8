from dataclasses import replace

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS, preset

KNOWN = {
    "tiny": (32, 6, 44_966),
    "small": (128, 18, 4_976_380),
    "base": (128, 19, 7_423_090),
    "paper": (128, 40, 12_746_800),
}
"""Grid, stochastic layers, weights."""


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_what_they_were(name):
    config = preset(name)
    assert (config.size, config.depth, sum(p.numel() for p in IAHVAE(config).parameters())) == KNOWN[name]


def test_the_paper_preset_has_the_papers_widths():
    assert {(s.layers, s.channels, s.inner, s.patch) for s in preset("paper").scales} == {(5, 128, 64, 1)}


def test_variants_of_a_preset():
    spectral = preset("small", grid=64, encoder="bottom-up", heads="spectral")
    assert (spectral.size, spectral.encoder, spectral.heads) == (64, "bottom-up", "spectral")
    assert not spectral.grows
    plain = preset("small", grid=64)
    assert plain.grows
    assert [scale.super_resolution for scale in plain.scales] == [0, 0, 0, 0, 64, 64, 80]
    # Spectral heads have no branches, and others may go without.
    without = tuple(replace(scale, super_resolution=0) for scale in plain.scales)
    assert spectral.scales == preset("small", grid=64, super_resolution=False).scales == without


@pytest.mark.parametrize(
    ("name", "changes", "pattern"),
    [
        ("huge", {}, "--preset huge: expected one of tiny, small, base, paper"),
        ("tiny", {"grid": 24}, "--grid 24: expected one of 16, 32 with preset tiny"),
        ("tiny", {"grid": 64}, "--grid 64"),
        ("tiny", {"grid": 8}, "--grid 8"),
        ("tiny", {"decoder": "ordinary"}, "--decoder ordinary: needs --encoder bottom-up"),
        ("tiny", {"decoder": "ordinary", "encoder": "bottom-up", "heads": "spectral"}, "--heads image"),
    ],
)
def test_what_cannot_be(name, changes, pattern):
    with pytest.raises(UsageError, match=pattern):
        preset(name, **changes)
