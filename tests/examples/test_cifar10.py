"""`examples/cifar10`: colours by half spectra on the package's seams."""

import io
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch.distributions import Normal

from examples.cifar10 import rings, table, training
from examples.cifar10.__main__ import main
from examples.cifar10.half_spectrum import HalfSpectrum
from examples.cifar10.model import GREY, UNIT, Colours, ColourVAE
from examples.cifar10.together import regrouped, together
from examples.cifar10.training import KINDS, batch, begin, resume, save
from mri_iahvae.errors import UsageError
from mri_iahvae.kspace.bands import embed
from mri_iahvae.model.walk import Walk
from mri_iahvae.training.objective import posterior_pass

SIZE, LAST = 4, 2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(count, size):
    """Uint8 (count, 3, size, size): a gradient of another direction and brightness for each image and colour."""
    a, b, c = torch.rand(3, count, 3, 1, 1, generator=generator())
    ramp = torch.linspace(-1, 1, size)
    return (128 + 80 * (a - 0.5) + 90 * ((b - 0.5) * ramp[:, None] + (c - 0.5) * ramp)).byte()


@pytest.fixture
def images():
    return smooth(40, SIZE)


def random_model(*, ordinary=False, gains=(4.0, 2.0, 1.0)):
    """A model none of whose weights is zero, not even those of heads."""
    torch.manual_seed(1)
    model = ColourVAE(SIZE, ordinary=ordinary).requires_grad_(requires_grad=False)
    for parameter in model.decoder.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator(2)))
    model.set_gains(torch.tensor(gains))
    return model


def test_the_lattice_holds_three_half_spectra(images):
    split, half, x = Colours(SIZE), HalfSpectrum(SIZE), images.double() - 100
    lattice = split.analysis(x, LAST)
    torch.testing.assert_close(split.synthesis(lattice, LAST), x)
    torch.testing.assert_close(lattice.abs().square().sum(), x.square().sum())  # orthonormal
    own = half.analysis(x)
    for colour, (row, column) in enumerate(((0, 0), (0, 1), (1, 0))):
        torch.testing.assert_close(lattice[:, row::2, column::2].real, own[:, colour])
    assert not lattice[:, 1::2, 1::2].any()
    assert not lattice.imag.any()


def test_rings_of_all_scales_partition_the_lattice():
    split, half = Colours(SIZE), HalfSpectrum(SIZE)
    rings = torch.stack([embed(split.ring(k), 2 * SIZE) for k in range(LAST + 1)])
    used = torch.ones(2 * SIZE, 2 * SIZE, dtype=torch.bool)
    used[1::2, 1::2] = False
    assert torch.equal(rings.sum(0), used.long())
    for k in range(LAST + 1):
        assert torch.equal(rings[k][::2, ::2], half.ring(k))
    assert torch.equal(Colours(SIZE, whole=True).ring(LAST), used)


@pytest.mark.parametrize("index", range(LAST + 1))
def test_a_block_is_of_the_same_waves_on_a_coarser_grid(index):
    """A ring's image at the scale's own resolution has the same energy, and the samples of the full image."""
    split = Colours(SIZE)
    side = split.sides[index]
    part = torch.randn(2, side, side, generator=generator()) * split.ring(index) + 0j
    whole = split.synthesis(embed(part, 2 * SIZE), LAST)
    step = 2 * SIZE // side
    torch.testing.assert_close(split.synthesis(part, index), step * whole[..., ::step, ::step])
    torch.testing.assert_close(split.analysis(split.synthesis(part, index), index), part)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_answers_for_its_own_coordinates(images, kind):
    model = random_model(ordinary=KINDS[kind])
    walk = Walk(model, 2, torch.device("cpu"))
    for scale, h in walk:
        latents = [torch.randn(2, *one.shape, generator=generator(one.index)) for one in scale.latents]
        last = scale.run(h, latents)
        part = scale.bins(last)
        ring = model.decomposition.ring(scale.index)
        assert part[:, ring].abs().min() > 0
        assert not part[:, ~ring].any()
        assert not part.imag.any()
        walk.extend(last, part)
    assert walk.coarse.shape == (2, 2 * SIZE, 2 * SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_is_the_error_of_pixels_and_the_divergence(images, kind):
    model, x = random_model(ordinary=KINDS[kind]), images[:5]
    passed = posterior_pass(model, model.coefficients(x), generator())
    decoded = model.images(passed.bins)
    pixels = (decoded - x).square().flatten(1).sum(1) / UNIT**2
    torch.testing.assert_close(passed.error.sum(0), pixels, rtol=1e-4, atol=0)
    log_density = Normal(decoded, UNIT * model.sigma).log_prob(x.float()).flatten(1).sum(1)
    expected = (passed.kl.sum(0) - log_density) / (3 * SIZE**2 * math.log(2))
    torch.testing.assert_close(model.negative_elbo(passed), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_sees_every_colour(images, kind):
    model = random_model(ordinary=KINDS[kind])
    seen = torch.stack(
        [posterior_pass(model, model.coefficients(x)).kl.sum(0) for x in _one_colour_changed(images)]
    )
    assert len(seen.unique()) == 4


def _one_colour_changed(images):
    for colour in (None, 0, 1, 2):
        x = images[:1].clone()
        if colour is not None:
            x[:, colour] = 255 - x[:, colour]
        yield x


def test_algorithm_1_gives_what_the_encoder_says_and_a_sampled_start_what_it_draws(images):
    model = random_model()
    x = model.coefficients(images[:5])
    mean = table.inferred(model, x, "amortized", 0)
    torch.testing.assert_close(mean.bins, posterior_pass(model, x).bins)
    drawn = table.inferred(table.sampling(model), x, "amortized", 0)
    torch.testing.assert_close(drawn.bins, posterior_pass(model, x, generator()).bins)
    assert not drawn.bounded.any()


def test_scales_together_are_the_same_model(images):
    model = random_model()
    x = model.coefficients(images[:5])
    for noise in (None, generator()):
        asked = together(model) if noise is None else table.sampling(together(model))
        found = table.inferred(asked, x, "amortized", 0)
        torch.testing.assert_close(found.bins, posterior_pass(model, x, noise).bins)
    apart = table.inferred(model, x, "iterative", 0)
    joined = table.inferred(together(model), x, "iterative", 0)
    torch.testing.assert_close(joined.bins, apart.bins)  # decoded from the prior's mean
    for a, b in zip(regrouped(model, joined.latents), apart.latents, strict=True):
        assert [e.shape for e in a] == [e.shape for e in b]
    one = together(model).scales[0]
    assert one.energy() == pytest.approx(random_model(ordinary=True).scales[0].energy(), rel=1e-5)


def test_refining_one_scale_changes_itself_and_what_its_contexts_reach(images):
    model = random_model()
    x = model.coefficients(images[:5])
    amortized = table.inferred(model, x, "amortized", 0).bins
    torch.testing.assert_close(rings.refined(model, x, (), 5), amortized)
    everything = rings.refined(model, x, range(LAST + 1), 5)
    torch.testing.assert_close(everything, table.inferred(model, x, "hybrid", 5).bins)
    one, kept = (rings.refined(model, x, (1,), 5, passed_on=on) for on in (True, False))
    before, after, apart = (rings.errors(model, bins, x) for bins in (amortized, one, kept))
    assert after[0] == before[0]
    assert after[1] < before[1]
    assert after[2] != before[2]
    assert apart == pytest.approx([before[0], after[1], before[2]], rel=1e-5)
    assert sum(before) == pytest.approx(
        float((model.images(amortized) - images[:5]).square().mean()), rel=1e-4
    )


@pytest.mark.parametrize("how", table.HOW)
@pytest.mark.parametrize("method", ["iterative", "hybrid"])
def test_refinement_lowers_the_objective(images, method, how):
    model = random_model(ordinary=how != "scales together")
    x = model.coefficients(images[:5])
    asked = table.HOW[how](model)

    def objective(found):
        prior = sum(e.square().flatten(1).sum(1) for e in found.latents[0]) / 2
        return prior + (found.bins - x).abs().square().sum(dim=(1, 2)) / (2 * model.sigma**2)

    few, many = (objective(table.inferred(asked, x, method, steps)) for steps in (1, 12))
    assert bool((many < few).all())


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_about_latents(images, kind):
    """With a posterior as wide as the prior: that of the pass for its mean, and |c|^2 / 2 more for a shifted one."""
    model = random_model(ordinary=KINDS[kind])
    for stage in model.decoder:
        for layer in stage.ladder():
            for parameter in layer.posterior_block.expand.parameters():
                parameter.zero_()
    x = model.coefficients(images[:5])
    centre = [[torch.zeros(5, *one.shape) for one in scale.latents] for scale in model.scales]
    expected = table.amortized_bound(model, x)
    torch.testing.assert_close(table.bound(model, x, centre), expected)
    for parameter in model.decoder.parameters():  # nothing depends on latents
        parameter.zero_()
    size = sum(math.prod(one.shape) for scale in model.scales for one in scale.latents)
    shifted = [[e + 0.5 for e in layers] for layers in centre]
    more = table.bound(model, x, shifted) - table.bound(model, x, centre)
    rate = size * 0.5**2 / 2 / (3 * SIZE**2 * math.log(2))
    torch.testing.assert_close(more, torch.full((5,), rate), rtol=1e-4, atol=1e-6)


def test_images_are_spread_over_a_file():
    assert training.spread(torch.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert training.spread(torch.arange(3), 4).tolist() == [0, 1, 2]


def test_differences_are_paired():
    """One image differs by 2, one by 4: the mean is 3, its standard error sqrt 2 / sqrt 2."""
    found = table.paired(torch.tensor([102.0, 9.0]), torch.tensor([100.0, 5.0]))
    assert found == pytest.approx({"mse_difference": 3, "standard_error": 1})


def test_the_learning_rate_falls_to_zero(images):
    one = begin(images)["separable"]
    before = [parameter.clone() for parameter in one.model.parameters()]
    one.step(images[:8], 0, progress=1.0)
    for parameter, old in zip(one.model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)
    one.step(images[:8], 0, progress=0.5)
    assert one.optimizer.param_groups[0]["lr"] == pytest.approx(training.RATE / training.WARM / 2)


def test_gains_are_measured_and_training_goes_on_where_it_stopped(images, tmp_path):
    straight = begin(images)
    coordinates = HalfSpectrum(SIZE).analysis((images.double() - GREY) / UNIT)
    for index, gain in enumerate(straight["separable"].model.gains):
        ring = HalfSpectrum(SIZE).ring(index)
        assert float(gain) == pytest.approx(float(coordinates[..., ring].square().mean().sqrt()), rel=1e-4)
    losses = [[one.step(batch(images, step), step) for one in straight.values()] for step in range(3)]
    assert np.isfinite(losses).all()
    stopped = begin(images)
    for step in range(2):
        for one in stopped.values():
            one.step(batch(images, step), step)
    save(tmp_path, stopped, 2)
    resumed, step = resume(tmp_path)
    assert step == 2
    assert [one.step(batch(images, step), step) for one in resumed.values()] == losses[2]
    for name, one in resumed.items():
        wanted = straight[name].mean.state_dict()
        for key, value in one.mean.state_dict().items():
            assert torch.equal(value, wanted[key]), key


def test_training_lowers_the_bound(images, monkeypatch):
    monkeypatch.setattr(training, "WARM", 1)
    one = begin(images)["separable"]
    losses = [one.step(images[:32], 0) for _ in range(20)]
    assert losses[-1] < losses[0] - 0.3


def test_a_run_that_is_none(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="train first"):
        resume(tmp_path)


def write_jpegs(path, images):
    files = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, format="jpeg")
        files.append(file.getvalue())
    offset = np.cumsum([0, *map(len, files)])
    np.savez(path, jpeg=np.frombuffer(b"".join(files), np.uint8), offset=offset)


def test_the_commands(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "STEPS", (1,))
    data, run, drawn = tmp_path / "images.npz", tmp_path / "run", tmp_path / "scales.png"
    write_jpegs(data, smooth(4, 32))
    seen = []
    for _ in range(2):
        done = CliRunner().invoke(main, ["train", str(data), "--minutes", "0.001", "-o", str(run)])
        assert done.exit_code == 0, done.output
        seen.append(resume(run)[1])
    assert seen[1] > seen[0] > 0
    output = tmp_path / "table.json"
    options = ["--images", "2", "--json", str(output), "--picture", str(drawn)]
    done = CliRunner().invoke(main, ["table", str(run), str(data), *options])
    assert done.exit_code == 0, done.output
    results = json.loads(output.read_text())
    assert results["images_seen"] == training.BATCH * seen[1]
    assert [row["inference"].split()[0] for row in results["rows"] if row["model"] == "ordinary"] == [
        "amortized,", "amortized,", "iterative", "hybrid", "hybrid"
    ]  # fmt: skip
    for row in results["rows"]:
        assert row["inference"] in done.output
        assert 0 < row["mse"] < 255**2
        assert row["seconds"] > 0
    with Image.open(drawn) as picture:
        assert picture.size == (2 * 7 * 34, 2 * 2 * 2 * 34)
    options = ["--images", "2", "--steps", "1", "--json", str(output)]
    done = CliRunner().invoke(main, ["rings", str(run), str(data), *options])
    assert done.exit_code == 0, done.output
    results = json.loads(output.read_text())
    assert len(results["rows"]) == 10
    for row in results["rows"]:
        assert f"| {row['refined']} | {row['errors'][0]:.1f} |" in done.output
    done = CliRunner().invoke(main, ["table", str(tmp_path), str(data)])
    assert done.exit_code == 1
    assert "train first" in done.output
