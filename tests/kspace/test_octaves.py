"""Octaves of spatial frequency, and means over them."""

import torch

from mri_iahvae.kspace.octaves import OCTAVES, octaves, ring_means


def test_octaves_and_their_means():
    ring = octaves(torch.ones(1, 64, 48))
    assert ring.shape == (64, 48)
    assert ring[0].eq(0).all()
    assert ring[32, 24] == OCTAVES - 1
    assert ring[32 + 16, 24] == 1  # half the Nyquist frequency ends the ring
    assert ring[32 + 17, 24] == 0
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 64, 48, generator=generator)
    where = torch.rand(2, 64, 48, generator=generator) < 0.3
    where[0, ring == 2] = False
    found = ring_means(values, where, ring)
    for element in range(2):
        for number in range(OCTAVES):
            chosen = values[element][where[element] & (ring == number)]
            expected = chosen.mean() if len(chosen) else torch.tensor(0.0)
            torch.testing.assert_close(found[element, number], expected)
