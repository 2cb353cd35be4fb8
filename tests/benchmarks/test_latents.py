"""Latents that are carried from frame to frame: each scale goes on from its own, and the first frame is as usual."""

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from mri_iahvae import Reconstructor
from mri_iahvae.inference.infer import METHODS
from mri_iahvae.inference.methods import Found, Method

pytest.importorskip("scipy")
from benchmarks.beyond.latents import Carried


def test_a_scale_starts_from_what_was_last_found_for_it():
    zeros, std = [torch.zeros(1, 2)], [torch.ones(1, 2)]
    usual = Method(lambda _: (zeros, std), lambda _, start, *__: Found([start[0] + 1], torch.ones(1)))
    carried, coarse, fine = Carried(usual), *(SimpleNamespace(scale=SimpleNamespace(index=n)) for n in (0, 1))
    for frame in range(3):
        start, deviation = carried.start(coarse)
        assert (start[0] == frame).all()
        assert deviation is std
        carried.refine(coarse, start, std, None, None)
    assert carried.start(fine)[0] is zeros


def test_the_first_frame_is_as_usual_and_later_ones_are_not(head_kspace, checkpoint):
    frames, mask = head_kspace(1, 32).repeat(3, axis=0), np.arange(32) % 3 > 0

    def images():
        reconstructor = Reconstructor(checkpoint, "cpu", method="iterative", steps=2)
        return reconstructor.reconstruct(frames, mask, batch=1).image

    usual, carried = images(), Carried(METHODS["iterative"])
    method = METHODS["iterative"]._replace(start=carried.start, refine=carried.refine)
    with patch.dict(METHODS, iterative=method):
        found = images()
    np.testing.assert_array_equal(found[0], usual[0])
    assert not np.allclose(found[2], usual[2], rtol=1e-3)
