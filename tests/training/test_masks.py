import torch

from mri_iahvae.training.masks import random_masks


def test_masks(noise):
    masks = random_masks(600, 32, noise)
    assert masks.shape == (600, 32, 32)
    assert masks.dtype == torch.bool
    assert masks[:, 16, 16].all()
    columns = (masks == masks[:, :1]).all(dim=(1, 2))
    assert 0.65 < columns.float().mean() < 0.85
    for kind in (columns, ~columns):
        fraction = masks[kind].float().mean(dim=(1, 2))
        assert 1 / 12 < fraction.mean() < 1 / 2.5
        assert fraction.std() > 0.05
        assert fraction.max() < 0.7
        density = masks[kind].float().mean(0)
        assert density[12:20, 12:20].mean() > 1.3 * density.mean()
    assert masks[columns].any(0).all()
    central = masks[columns][:, 0]
    assert (central[:, 16] & ~central.all(1)).all()
