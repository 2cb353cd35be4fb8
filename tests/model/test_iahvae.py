"""What makes the model an IA-HVAE: each scale's latents generate the bins of its own band, and of no other."""

import pytest
import torch

from mri_iahvae.kspace.bands import band_mask, block_mask, crop, embed, join, scales, split
from mri_iahvae.kspace.fft import fft2c, ifft2c, to_complex
from mri_iahvae.model.iahvae import IAHVAE, add_band, complete
from mri_iahvae.model.presets import preset


def draw_latents(model, noise, count=2):
    """Whitened latents of all layers, [scale][layer], with gradients."""
    return [
        [
            torch.randn(count, *model.latent_shape(index), generator=noise).requires_grad_()
            for _ in model.layers(index)
        ]
        for index in range(len(model.decoder))
    ]


def decode(model, latents, detach=False):
    """Bands of all scales; with `detach`, contexts are cut from the coarser scales."""
    coarse, h, bands = torch.zeros(len(latents[0][0]), 0, 0), None, []
    for index, whitened in enumerate(latents):
        if detach and h is not None:
            h, coarse = h.detach(), coarse.detach()
        h, _ = model.descend(index, model.context(index, h, coarse), whitened)
        bands.append(model.band(index, h))
        coarse = add_band(coarse, bands[-1])
    return bands


def encode(model, kspace):
    """Encoder features of all scales."""
    features = [None]
    for index, s in enumerate(scales(model.size)):
        features.append(model.encode(index, crop(kspace, s), features[-1]))
    return features[1:]


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_reach_a_band_from_its_own_latents_and_coarser_ones_only(model, noise, detach):
    latents = draw_latents(model, noise)
    bands = decode(model, latents, detach)
    weights = [torch.randn(band.shape, generator=noise) for band in bands]
    for index, band in enumerate(bands):
        target = (weights[index] * (band.real + 2 * band.imag)).sum()
        for other, layers in enumerate(latents):
            gradients = torch.autograd.grad(target, layers, retain_graph=True, allow_unused=True)
            if other > index or (detach and other < index):
                assert all(g is None or g.abs().max() == 0 for g in gradients), (index, other)
            else:
                assert all(g is not None and g.abs().max() > 0 for g in gradients), (index, other)


def test_finer_latents_do_not_move_coarser_bins_of_the_image(model, noise):
    latents = draw_latents(model, noise)
    before = fft2c(ifft2c(join(decode(model, latents)))).detach()
    for index in range(1, len(latents)):
        moved = [
            [e + (k >= index) * torch.randn(e.shape, generator=noise) for e in layers]
            for k, layers in enumerate(latents)
        ]
        change = (fft2c(ifft2c(join(decode(model, moved)))).detach() - before).abs()
        inside = block_mask(2 ** (index - 1), model.size)
        assert change[:, inside].max() < 1e-5 * before.abs().max()
        assert crop(change, 2**index)[:, band_mask(2**index)].max() > 1e-3 * before.abs().max()


def test_heads_stay_in_their_band(model, noise):
    bands = decode(model, draw_latents(model, noise))
    for s, band in zip(scales(model.size), bands, strict=True):
        assert band.dtype == torch.complex64
        assert band.shape == (2, s, s)
        assert band[:, ~band_mask(s)].abs().sum() == 0
        assert (band[:, band_mask(s)].abs() > 0).all()


class Fixed(torch.nn.Module):
    """Returns the same value whatever it is given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, _):
        return self.value


@pytest.mark.parametrize("index", [3, 4, 5])
def test_heads_work_at_unit_scale(noise, index):
    """Channels of unit power become bins of the band's gain."""
    model = IAHVAE(preset("tiny"))
    model.gains.copy_(torch.tensor([25.0, 20.0, 11.0, 3.0, 1.0, 0.2]))
    stage = model.stage(index)
    shape = 2 * stage.patch**2, stage.resolution, stage.resolution
    stage.head.image = Fixed(torch.randn(200, *shape, generator=noise))
    band = model.band(index, torch.zeros(200, 16, stage.resolution, stage.resolution))
    rms = band[:, band_mask(2**index)].abs().square().mean().sqrt()
    assert rms.item() == pytest.approx(float(model.gains[index]), rel=0.03)


def test_spectral_heads_predict_the_bins_themselves(variant, noise):
    heads = {name: variant(heads=name) for name in ("image", "spectral")}
    for index, s in enumerate(scales(16)):
        patch = heads["image"].stage(index).patch
        channels = torch.randn(2, 2 * patch**2, s // patch or 1, s // patch or 1, generator=noise)
        bands = {}
        for name, model in heads.items():
            model.stage(index).head.image = Fixed(channels)
            bands[name] = model.band(
                index, torch.zeros(2, model.config.scales[index].channels, *channels.shape[2:])
            )
        predicted = to_complex(torch.nn.functional.pixel_shuffle(channels, patch))
        factor = heads["image"].gains[index] / 2**0.5 * band_mask(s)
        torch.testing.assert_close(bands["spectral"], predicted * factor)
        torch.testing.assert_close(bands["image"], fft2c(predicted) * factor)


def test_the_image_is_the_sum_of_the_bands_images(model, noise):
    bands = [band.detach() for band in decode(model, draw_latents(model, noise))]
    added = torch.zeros(2, 0, 0)
    for band in bands:
        added = add_band(added, band)
    torch.testing.assert_close(join(bands), added)
    images = torch.stack([ifft2c(embed(band, model.size)) for band in bands])
    torch.testing.assert_close(ifft2c(added), images.sum(0), atol=1e-5, rtol=1e-5)
    for band, again in zip(bands, split(added), strict=True):
        torch.testing.assert_close(again, band)


def test_encoder_features_depend_on_their_block_alone(model, kspace, noise):
    before = encode(model, kspace)
    for index, s in enumerate(scales(model.size)[:-1]):
        outside = ~block_mask(s, model.size)
        after = encode(model, kspace + outside * torch.randn(kspace.shape, generator=noise))
        for k, (a, b) in enumerate(zip(before, after, strict=True)):
            assert torch.equal(a, b) == (k <= index), (s, k)


def test_encoder_sees_every_bin_of_its_block(model, kspace):
    for index, s in enumerate(scales(model.size)):
        block = crop(kspace, s).clone().requires_grad_()
        features = model.encode(index, block, encode(model, kspace)[index - 1] if index else None)
        (gradient,) = torch.autograd.grad((features * features.detach().cos()).sum(), block)
        assert (gradient.abs() > 0).all()


def test_posterior_samples_and_means(model, kspace, noise):
    features = encode(model, kspace)[0]
    h = model.context(0, None, kspace[:, :0, :0])
    mean = model.amortize(0, h, features)
    again = model.amortize(0, h, features)
    assert torch.equal(mean[0], again[0])
    sampled = model.amortize(0, h, features, torch.Generator().manual_seed(1))
    for q, z in zip(mean[2], mean[3], strict=True):
        assert torch.equal(q.mean, z)
    first = sampled[2][0]
    draw = torch.randn(first.mean.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sampled[3][0], first.mean + first.std * draw)
    # Amortizing and descending agree: the latents alone decide the context.
    _, priors, _, latents = sampled
    whitened = [(z - p.mean) / p.std for z, p in zip(latents, priors, strict=True)]
    torch.testing.assert_close(model.descend(0, h, whitened)[0], sampled[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("known", [-1, 0, 2, 3])
def test_completion(model, kspace, known):
    s = 2**known if known >= 0 else 0
    coarse = crop(kspace, s) if s else kspace[:, :0, :0]
    h = None
    for index in range(known + 1):
        h, _ = model.descend(index, model.context(index, h, crop(kspace, 2**index // 2)))

    def run(seed=None, temperature=1.0):
        noise = None if seed is None else torch.Generator().manual_seed(seed)
        return complete(model, known, h, coarse, noise, temperature)

    mean = run()
    assert mean.shape == (2, model.size, model.size)
    assert torch.equal(mean, run())
    if s:
        assert torch.equal(crop(mean, s), coarse)
        assert torch.equal(crop(run(1), s), coarse)
    assert torch.equal(run(1), run(1))
    outside = ~block_mask(s, model.size)
    assert (run(1) != run(2))[:, outside].all()
    assert (mean != run(1))[:, outside].all()
    torch.testing.assert_close(run(1, temperature=0.0), mean)
    assert (run(1, 0.1) - mean).abs().square().sum() < 0.1 * (run(1) - mean).abs().square().sum()
    if not s:  # batch-sized prior means are all the same, samples are not
        torch.testing.assert_close(mean[0], mean[1])
        assert not torch.allclose(run(1)[0], run(1)[1])


def test_everything_known_is_returned(model, kspace):
    last = len(model.decoder) - 1
    assert torch.equal(complete(model, last, torch.zeros(2, 1, 1, 1), kspace), kspace)


def test_completion_does_not_push_gradients_into_known_bins(model, kspace):
    coarse = crop(kspace, 4).clone().requires_grad_()
    h = torch.zeros(2, model.config.scales[2].channels, 4, 4)
    outside = ~block_mask(4, model.size)
    completed = complete(model, 2, h, coarse)
    assert completed[:, outside].abs().min() > 0
    (gradient,) = torch.autograd.grad(completed[:, outside].abs().sum(), coarse)
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_every_grid(size, noise):
    model = IAHVAE(preset("small").coarse(size)).requires_grad_(requires_grad=False)
    assert model.size == size
    for index, s in enumerate(scales(size)):
        channels, rows, columns = model.latent_shape(index)
        assert rows == columns == max(1, s // model.config.scales[index].patch)
        assert channels * rows * columns == s * s * model.config.latent
    kspace = torch.view_as_complex(torch.randn(1, size, size, 2, generator=noise))
    features = encode(model, kspace)
    h, coarse = None, kspace[:, :0, :0]
    for index in range(len(features)):
        h = model.amortize(index, model.context(index, h, coarse), features[index])[0]
        coarse = add_band(coarse, model.band(index, h))
    assert coarse.shape == kspace.shape
    assert coarse.isfinite().all()
