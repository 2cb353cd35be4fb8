"""SENSE (Pruessmann et al., 1999, for any mask 2001): least squares of what several coils measured."""

from mri_iahvae.inference.rivals.seam import Bins, Image, Mask

_STEPS = 20


def sense(kspace: Bins, mask: Mask, sensitivities: Bins | None, weight: float) -> Image:
    """min |M F S x - y|^2 + weight |x|^2 by conjugate gradients: no prior but that the image is finite.

    A `seam.Method`, of several coils only.
    """
    import torch  # noqa: PLC0415 - slow to import, and names of rivals are looked up without it

    from mri_iahvae.kspace.coils import Sense  # noqa: PLC0415

    assert sensitivities is not None  # noqa: S101 - `registry.Rival.multiples`
    bins = torch.from_numpy(kspace)[None]
    operator = Sense(torch.from_numpy(sensitivities)[None], torch.from_numpy(mask))
    image: Image = operator.data_step(bins, bins[:, 0] * 0, torch.tensor(weight), _STEPS)[0].numpy()
    return image
