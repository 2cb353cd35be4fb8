import torch

from mri_iahvae.kspace.fft import fft2c, to_complex
from tests.model.conftest import Fixed


def test_spectral_heads_predict_the_bins_themselves(variant, noise):
    """Image heads predict their image."""
    models = {name: variant(heads=name) for name in ("image", "spectral")}
    for index, scale in enumerate(models["image"].scales):
        shape = 2, 2 * scale.patch**2, scale.resolution, scale.resolution
        channels = torch.randn(shape, generator=noise)
        predicted = to_complex(torch.nn.functional.pixel_shuffle(channels, scale.patch))
        for name, expected in (("image", fft2c(predicted)), ("spectral", predicted)):
            own = models[name].scales[index]
            own.head.image = Fixed(channels)
            bins = own.bins(torch.zeros(2, own.bias.shape[0], *shape[2:]))
            torch.testing.assert_close(bins, expected * own.gains / 2**0.5)
