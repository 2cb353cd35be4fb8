import json
import math

import pytest

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import DATA_CONSISTENCY, METHODS, InferenceSettings


@pytest.mark.parametrize(
    "values",
    [
        {"method": "magic"},
        {"method": "Hybrid"},
        {"data_consistency": "maybe"},
        {"steps": -1},
        {"fill_rounds": 0},
        {"rate": 0.0},
        {"rate": -0.1},
        {"rate": math.nan},
        {"rate": math.inf},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"seed": -1},
    ],
)
def test_what_cannot_be_computed_is_refused(values):
    with pytest.raises(UsageError) as caught:
        InferenceSettings(**values)
    assert "\n" not in str(caught.value)


def test_every_choice_is_taken_and_stored():
    for method in METHODS:
        for consistency in DATA_CONSISTENCY:
            settings = InferenceSettings(method, steps=0, data_consistency=consistency, temperature=0.7)
            assert InferenceSettings(**json.loads(json.dumps(settings.to_json()))) == settings
