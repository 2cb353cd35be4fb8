import pytest
import torch
from mri_iahvae.inference.engine import infer
from mri_iahvae.model.detail import Detail

from mri_iahvae.inference.draws import Row
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop, embed
from mri_iahvae.kspace.fft import fft2c, ifft2c, to_complex
from mri_iahvae.model.iahvae import IAHVAE
from tests.model.conftest import DETAILS, make_model


@pytest.fixture(scope="module")
def detailed():
    return make_model(DETAILS)


@pytest.fixture
def coarse(detailed, noise):
    """The bins of B_8, complex64 (2, 8, 8)."""
    return torch.view_as_complex(torch.randn(2, 8, 8, 2, generator=noise)) * crop(detailed.power.sqrt(), 8)


def test_what_it_makes_of_an_edge_does_not_depend_on_where_the_edge_is(noise):
    """Layers on folded pixels do: that is why there is a detail."""
    torch.manual_seed(0)
    detail = Detail(5)
    torch.nn.init.normal_(detail.image.weight)  # it starts silent
    images = [torch.view_as_complex(torch.randn(1, 64, 72, 2, generator=noise)) for _ in range(2)]
    shifted = [torch.roll(image, (3, -1), dims=(1, 2)) for image in images]
    with torch.no_grad():
        inside = (slice(None), slice(None), slice(34, -34), slice(34, -34))
        expected = torch.roll(detail(*images), (6, -2), dims=(2, 3))[inside]  # of pixels half as large
        assert expected.abs().mean() > 0.1
        torch.testing.assert_close(detail(*shifted)[inside], expected)


@torch.no_grad()
def test_it_reaches_the_bins_of_a_fresh_model_as_it_is(coarse):
    """Band = what the detail says, in units of the band's gain: layers and head add nothing yet."""
    torch.manual_seed(0)
    model = IAHVAE(DETAILS)
    stage = model.stage(4)
    torch.nn.init.normal_(stage.detail.image.weight)
    h = torch.randn(2, DETAILS.scales[3].width, 8, 8)
    band = model.band(4, model.descend(4, model.context(4, h, coarse))[0])

    image = ifft2c(coarse) * (8 / 16)
    white = ifft2c(coarse / crop(model._gain_map(), 8))
    told = fft2c(to_complex(stage.detail(image, white))) * model.gains[4] / 2**0.5
    torch.testing.assert_close(band, told * model.ring(4))


def test_it_depends_on_the_coarser_bins_alone(detailed, coarse):
    """So that one evaluation serves all steps of a refinement."""
    h = torch.randn(2, DETAILS.scales[3].width, 8, 8, requires_grad=True)
    seen = coarse.clone().requires_grad_()
    told = detailed.context(4, h, seen)[:, -8:]
    by_context, by_bins = torch.autograd.grad(told.square().sum(), [h, seen], allow_unused=True)
    assert by_context is None or not by_context.any()
    assert by_bins.any()


@pytest.mark.parametrize("method", ["hybrid", "iterative"])
def test_steps_do_not_evaluate_it_again(detailed, coarse, method, monkeypatch):
    calls = []
    forward = Detail.forward
    monkeypatch.setattr(Detail, "forward", lambda *args: calls.append(1) or forward(*args))
    kspace = embed(coarse, 16)
    mask = torch.ones(1, 16, 16, dtype=torch.bool)
    counts = []
    for steps in (1, 12):
        settings = InferenceSettings(method, steps=steps, data_consistency="none")
        infer(detailed, kspace, mask, torch.zeros(2), settings, [Row(0), Row(1)])
        counts.append(len(calls))
        calls.clear()
    assert counts == [2, 2]  # one per scale that has one
