import json
from dataclasses import replace

import pytest

from mri_iahvae.errors import CheckpointError
from mri_iahvae.kspace.orthogonal import angle_count
from mri_iahvae.model.config import ModelConfig, ScaleConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import PRESETS, preset
from tests.refusals import refused


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
        decomposition="rotations",
        angles=(0.1, -0.2),
    )
    for original in (config, measured):
        assert ModelConfig.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_keys_of_earlier_versions_are_read():
    config = preset("small")
    values = {**config.to_json(), "spread": [2.0] * 8}
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


def test_checkpoints_of_earlier_versions_are_on_bands_of_kspace():
    values = preset("tiny").to_json()
    del values["decomposition"], values["angles"]
    assert ModelConfig.from_json(values) == preset("tiny")


def test_coarse_keeps_the_angles_of_the_coarse_scales():
    angles = tuple(map(float, range(angle_count(32))))
    coarse = replace(preset("tiny"), decomposition="rotations", angles=angles).coarse(8)
    assert coarse.angles == angles[: angle_count(8)]


@pytest.mark.parametrize(
    "variant", [{}, {"encoder": "bottom-up"}, {"encoder": "bottom-up", "decoder": "ordinary"}]
)
@pytest.mark.parametrize(
    "scale", [(1, 1, 1), (1, 64, 1), (2, 1, 32), (3, 4, 4, 4), (1, 1, 1, 4), (1, 4, 4, 2, 40)]
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
        *((values, "malformed") for values in (None, [SCALE], {}, {"scales": 3}, {"scales": [7]}, {"scales": []})),
        *(({"scales": [scale]}, "malformed") for scale in (
            {"layers": 1}, {**SCALE, "channels": "8"}, {**SCALE, "layers": 0}, {**SCALE, "inner": 2.5})),
        *(({"scales": [SCALE, {**SCALE, **other}]}, "malformed") for other in (
            {"patch": 3}, {"super_resolution": -1})),
        *(({"scales": [SCALE], **other}, "malformed") for other in (
            {"sigma": "thin"}, {"sigma": 0}, {"sigma": 10**400}, {"latent": None}, {"gains": ["a"]},
            {"gains": [1, 1]}, {"core_power": [1.0]})),
        *(({"scales": [SCALE], **other}, pattern) for other, pattern in (
            ({"tails": 2}, "unknown keys: tails"),
            ({"core_power": [[1.0, 1.0]] * 2}, "beyond the grid"),
            ({"angles": [float("nan")]}, "angles must be finite"),
            ({"angles": ["a"]}, "malformed"),
            ({"decomposition": "ripples"}, "decomposition must be one of fourier, wavelets, block-dct, rotations"),
            ({"core_power": [[-1.0]]}, "negative"),
            ({"core_power": [[float("nan")]]}, "not finite"),
            ({"encoder": "sideways"}, "encoder must be one of causal, bottom-up"),
            ({"heads": 2}, "heads must be one of image, spectral"),
            ({"decoder": None}, "decoder must be one of separable, ordinary"),
            ({"decoder": "ordinary"}, "needs a bottom-up encoder"),
            ({**ORDINARY, "heads": "spectral"}, "image head"),
            ({"scales": [SCALE] * 14}, "at most 13 scales"),
            ({"scales": [{**SCALE, "depth": 2}]}, "unknown keys: depth"),
            ({"scales": [BRANCH, SCALE]}, BRANCHES),
            ({"scales": [SCALE, BRANCH], "heads": "spectral"}, BRANCHES),
            ({"scales": [SCALE, BRANCH], "heads": 2}, "heads must be one of"),
            ({"scales": [SCALE, BRANCH], **ORDINARY}, BRANCHES))),
    ],
)  # fmt: skip
def test_malformed_configurations_are_refused(values, pattern):
    refused(lambda: ModelConfig.from_json(values), pattern, error=CheckpointError)
