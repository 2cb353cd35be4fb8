import math

import pytest

from mri_iahvae.evaluation.metrics import Scores
from mri_iahvae.evaluation.summary import summarise


def test_every_volume_counts_once():
    summary = summarise([Scores(0.1, 20.0, 0.5), Scores(0.2, 26.0, 0.7), Scores(0.6, 32.0, 0.9)])
    assert summary.volumes == 3
    assert summary.mean == pytest.approx({"nmse": 0.3, "psnr": 26, "ssim": 0.7})
    assert summary.std == pytest.approx({"nmse": math.sqrt(0.14 / 2), "psnr": 6, "ssim": 0.2})


def test_one_volume_has_no_deviation():
    summary = summarise([Scores(0.1, 20.0, 0.5)])
    assert summary.mean == {"nmse": 0.1, "psnr": 20.0, "ssim": 0.5}
    assert summary.to_dict()["std"] == {"nmse": None, "psnr": None, "ssim": None}


def test_a_perfect_volume_makes_the_psnr_undefined_alone():
    plain = summarise([Scores(0.0, math.inf, 1.0), Scores(0.2, 20.0, 0.8)]).to_dict()
    assert plain["mean"] == {"nmse": 0.1, "psnr": None, "ssim": 0.9}
    assert plain["std"]["psnr"] is None
    assert plain["std"]["nmse"] == pytest.approx(math.sqrt(0.02))
