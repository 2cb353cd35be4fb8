import json
from dataclasses import replace

import pytest

from mri_iahvae.errors import CheckpointError, UsageError
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS, preset


@pytest.mark.parametrize(
    ("name", "size", "depth", "parameters"),
    [
        ("tiny", 32, 6, 44_966),
        ("small", 128, 18, 4_976_380),
        ("base", 128, 19, 7_423_090),
        ("paper", 128, 40, 12_746_800),
    ],
)
def test_presets_are_what_they_were(name, size, depth, parameters):
    config = preset(name)
    assert (config.size, config.depth) == (size, depth)
    assert sum(p.numel() for p in IAHVAE(config).parameters()) == parameters


def test_every_preset_is_counted_and_base_stays_below_its_limit():
    assert set(PRESETS) == {"tiny", "small", "base", "paper"}
    assert sum(p.numel() for p in IAHVAE(preset("base")).parameters()) <= 7_500_000


def test_paper_preset_has_the_papers_widths():
    assert {(s.layers, s.channels, s.inner, s.patch) for s in preset("paper").scales} == {(5, 128, 64, 1)}


def test_unknown_preset():
    with pytest.raises(UsageError, match=r"preset huge: expected one of tiny, small, base, paper"):
        preset("huge")


def test_variants_of_a_preset():
    config = preset("small", grid=64, encoder="bottom-up", heads="spectral")
    assert (config.size, config.encoder, config.heads, config.decoder) == (
        64,
        "bottom-up",
        "spectral",
        "separable",
    )
    assert [scale.detail for scale in config.scales] == [0] * 7
    plain = preset("small", grid=64, encoder="bottom-up")
    assert plain.scales == preset("small").scales[:7]
    assert [scale.detail for scale in plain.scales] == [0, 0, 0, 0, 64, 64, 80]
    assert tuple(replace(scale, detail=0) for scale in plain.scales) == config.scales
    assert preset("small", grid=64, details=False).scales == config.scales
    assert preset("tiny", grid=32) == preset("tiny")
    assert preset("tiny").grows
    assert not preset("tiny", encoder="bottom-up").grows


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"grid": 24}, "--grid 24: expected one of 16, 32 with preset tiny"),
        ({"grid": 64}, "--grid 64"),
        ({"grid": 8}, "--grid 8"),
        ({"decoder": "ordinary"}, "--decoder ordinary: needs --encoder bottom-up"),
        ({"decoder": "ordinary", "encoder": "bottom-up", "heads": "spectral"}, "--heads image"),
    ],
)
def test_variants_that_cannot_be(changes, pattern):
    with pytest.raises(UsageError, match=pattern):
        preset("tiny", **changes)


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    config = preset(name)
    measured = ModelConfig(
        config.scales,
        latent=3,
        encoder="bottom-up",
        sigma=0.25,
        gains=tuple(1.5**-k for k in range(len(config.scales))),
        core_power=((1.0, 2.0), (3.0, 0.1)),
        spread=(1.5,) * len(config.scales),
    )
    for original in (config, measured):
        assert ModelConfig.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_coarse_keeps_the_coarse_scales():
    config = ModelConfig(preset("tiny").scales, gains=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0), core_power=((1.0,),))
    coarse = config.coarse(8)
    assert coarse.size == 8
    assert coarse.scales == config.scales[:4]
    assert coarse.gains == (6.0, 5.0, 4.0, 3.0)
    assert coarse.core_power == ()  # bins double with the grid: it must be measured again


@pytest.mark.parametrize(
    "variant", [{}, {"encoder": "bottom-up"}, {"encoder": "bottom-up", "decoder": "ordinary"}]
)
@pytest.mark.parametrize(
    "scale",
    [
        ScaleConfig(1, 1, 1),
        ScaleConfig(1, 64, 1),
        ScaleConfig(2, 1, 32),
        ScaleConfig(3, 4, 4, 4),
        ScaleConfig(1, 1, 1, 4),
        ScaleConfig(1, 4, 4, 2, 40),
    ],
)
def test_least_weights_is_a_lower_bound_within_a_factor_of_ten(variant, scale):
    config = ModelConfig((ScaleConfig(1, 2, 1),) * 2 + (scale,) * 3, latent=2, encoder_blocks=1, **variant)
    count = sum(value.numel() for value in IAHVAE(config).state_dict().values())
    assert config.least_weights <= count <= 10 * config.least_weights


SCALE = {"layers": 1, "channels": 8, "inner": 4, "patch": 1}


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ({"scales": [SCALE], "tails": 2}, "unknown keys: tails"),
        ({"scales": [{**SCALE, "depth": 2}]}, "unknown keys: depth"),
        ({}, "malformed"),
        ({"scales": [{"layers": 1}]}, "malformed"),
        ({"scales": 3}, "malformed"),
        ({"scales": [SCALE], "spread": [0.0]}, "spread must be positive"),
        ({"scales": [SCALE], "spread": [1.0, 1.0]}, "every scale or none"),
        ({"scales": [7]}, "malformed"),
        ({"scales": []}, "malformed"),
        ({"scales": [{**SCALE, "channels": "8"}]}, "malformed"),
        ({"scales": [{**SCALE, "layers": 0}]}, "malformed"),
        ({"scales": [{**SCALE, "inner": 2.5}]}, "malformed"),
        ({"scales": [SCALE, {**SCALE, "patch": 3}]}, "malformed"),
        ({"scales": [SCALE, {**SCALE, "detail": -1}]}, "malformed"),
        ({"scales": [SCALE, {**SCALE, "detail": 2.5}]}, "malformed"),
        ({"scales": [{**SCALE, "detail": 2}, SCALE]}, "no scale 1"),
        ({"scales": [SCALE, {**SCALE, "detail": 2}], "heads": "spectral"}, "no spectral heads"),
        (
            {"scales": [SCALE, {**SCALE, "detail": 2}], "encoder": "bottom-up", "decoder": "ordinary"},
            "no ordinary decoder",
        ),
        ({"scales": [SCALE], "sigma": "thin"}, "malformed"),
        ({"scales": [SCALE], "sigma": 0}, "malformed"),
        ({"scales": [SCALE], "latent": None}, "malformed"),
        ({"scales": [SCALE], "gains": ["a"]}, "malformed"),
        ({"scales": [SCALE], "gains": [1, 1]}, "malformed"),
        ({"scales": [SCALE], "core_power": [1.0]}, "malformed"),
        ({"scales": [SCALE], "encoder": "sideways"}, "encoder must be one of causal, bottom-up"),
        ({"scales": [SCALE], "heads": 2}, "heads must be one of image, spectral"),
        ({"scales": [SCALE], "decoder": None}, "decoder must be one of separable, ordinary"),
        ({"scales": [SCALE], "decoder": "ordinary"}, "needs a bottom-up encoder"),
        (
            {"scales": [SCALE], "decoder": "ordinary", "encoder": "bottom-up", "heads": "spectral"},
            "image head",
        ),
        ({"scales": [SCALE] * 14}, "at most 13 scales"),
        ({"scales": [SCALE], "core_power": [[1.0, 1.0]] * 2}, "beyond the grid"),
        ({"scales": [SCALE], "core_power": [[-1.0]]}, "negative"),
        ({"scales": [SCALE], "core_power": [[float("nan")]]}, "not finite"),
        ({"scales": [SCALE], "sigma": 10**400}, "malformed"),
        (None, "malformed"),
        ([SCALE], "malformed"),
    ],
)
def test_malformed_configurations_are_refused(values, pattern):
    with pytest.raises(CheckpointError, match=pattern) as caught:
        ModelConfig.from_json(values)
    assert "\n" not in str(caught.value)
