import json
from dataclasses import replace

import pytest

from mri_iahvae.errors import CheckpointError
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    config = preset(name)
    measured = replace(
        config,
        latent=3,
        encoder="bottom-up",
        sigma=0.25,
        gains=tuple(1.5**-k for k in range(len(config.scales))),
        core_power=((1.0, 2.0), (3.0, 0.1)),
        dispersion=(1.5,) * len(config.scales),
    )
    for original in (config, measured):
        assert ModelConfig.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_keys_of_earlier_versions_are_read():
    config = replace(preset("small"), dispersion=(2.0,) * 8)
    values = config.to_json()
    values["spread"] = values.pop("dispersion")
    for scale in values["scales"]:
        scale["detail"] = scale.pop("super_resolution")
    assert ModelConfig.from_json(values) == config


def test_coarse_keeps_the_coarse_scales():
    config = replace(preset("tiny"), gains=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0), core_power=((1.0,),))
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
    [(1, 1, 1), (1, 64, 1), (2, 1, 32), (3, 4, 4, 4), (1, 1, 1, 4), (1, 4, 4, 2, 40)],
)
def test_least_weights_is_a_lower_bound_within_a_factor_of_ten(variant, scale):
    scales = (ScaleConfig(1, 2, 1),) * 2 + (ScaleConfig(*scale),) * 3
    config = ModelConfig(scales, latent=2, encoder_blocks=1, **variant)
    count = sum(value.numel() for value in IAHVAE(config).state_dict().values())
    assert config.least_weights <= count <= 10 * config.least_weights


SCALE = {"layers": 1, "channels": 8, "inner": 4, "patch": 1}
BRANCH = {**SCALE, "super_resolution": 2}
BRANCHES = "super-resolution branches need image heads, a separable decoder and a coarser scale"
ORDINARY = {"encoder": "bottom-up", "decoder": "ordinary"}


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ({"scales": [SCALE], "tails": 2}, "unknown keys: tails"),
        ({"scales": [{**SCALE, "depth": 2}]}, "unknown keys: depth"),
        ({}, "malformed"),
        ({"scales": [{"layers": 1}]}, "malformed"),
        ({"scales": 3}, "malformed"),
        ({"scales": [7]}, "malformed"),
        ({"scales": []}, "malformed"),
        ({"scales": [{**SCALE, "channels": "8"}]}, "malformed"),
        ({"scales": [{**SCALE, "layers": 0}]}, "malformed"),
        ({"scales": [{**SCALE, "inner": 2.5}]}, "malformed"),
        ({"scales": [SCALE, {**SCALE, "patch": 3}]}, "malformed"),
        ({"scales": [SCALE, {**SCALE, "super_resolution": -1}]}, "malformed"),
        ({"scales": [BRANCH, SCALE]}, BRANCHES),
        ({"scales": [SCALE, BRANCH], "heads": "spectral"}, BRANCHES),
        ({"scales": [SCALE, BRANCH], **ORDINARY}, BRANCHES),
        ({"scales": [SCALE], "dispersion": [0.0]}, "dispersion must be positive"),
        ({"scales": [SCALE], "dispersion": [1.0, 1.0]}, "every scale or none"),
        ({"scales": [SCALE], "sigma": "thin"}, "malformed"),
        ({"scales": [SCALE], "sigma": 0}, "malformed"),
        ({"scales": [SCALE], "sigma": 10**400}, "malformed"),
        ({"scales": [SCALE], "latent": None}, "malformed"),
        ({"scales": [SCALE], "gains": ["a"]}, "malformed"),
        ({"scales": [SCALE], "gains": [1, 1]}, "malformed"),
        ({"scales": [SCALE], "core_power": [1.0]}, "malformed"),
        ({"scales": [SCALE], "core_power": [[1.0, 1.0]] * 2}, "beyond the grid"),
        ({"scales": [SCALE], "core_power": [[-1.0]]}, "negative"),
        ({"scales": [SCALE], "core_power": [[float("nan")]]}, "not finite"),
        ({"scales": [SCALE], "encoder": "sideways"}, "encoder must be one of causal, bottom-up"),
        ({"scales": [SCALE], "heads": 2}, "heads must be one of image, spectral"),
        ({"scales": [SCALE], "decoder": None}, "decoder must be one of separable, ordinary"),
        ({"scales": [SCALE], "decoder": "ordinary"}, "needs a bottom-up encoder"),
        ({"scales": [SCALE], **ORDINARY, "heads": "spectral"}, "image head"),
        ({"scales": [SCALE, BRANCH], "heads": 2}, "heads must be one of"),
        ({"scales": [SCALE] * 14}, "at most 13 scales"),
        (None, "malformed"),
        ([SCALE], "malformed"),
    ],
)
def test_malformed_configurations_are_refused(values, pattern):
    with pytest.raises(CheckpointError, match=pattern) as caught:
        ModelConfig.from_json(values)
    assert "\n" not in str(caught.value)
