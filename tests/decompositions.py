"""What every decomposition keeps, whatever its scales are."""

import torch


def check_decomposition(decomposition):
    """Partition, round trip, orthogonality, and the value of pixels at every resolution."""
    size, sides = decomposition.size, decomposition.sides
    assert sides[-1] == size
    values = torch.randn(3, size, size, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    parts = [decomposition.block(values, k) * decomposition.ring(k) for k in range(len(sides))]
    count = sum(int(decomposition.ring(k).sum()) for k in range(len(sides)))
    assert count == size**2  # each coefficient belongs to one scale
    coarse, energy = values[:, :0, :0], 0.0
    for index, (side, part) in enumerate(zip(sides, parts, strict=True)):
        assert part.shape == (3, side, side)
        assert decomposition.ring(index).dtype == torch.bool
        coarse = decomposition.extend(coarse, part, index)
        assert torch.equal(coarse, decomposition.block(values, index))
        energy = energy + part.abs().square().sum(dim=(1, 2))
    assert torch.equal(coarse, values)
    torch.testing.assert_close(energy, values.abs().square().sum(dim=(1, 2)))
    image = decomposition.image(values, len(sides) - 1)
    torch.testing.assert_close(image.abs().square().sum(dim=(1, 2)), energy)  # unitary
    flat = torch.einsum("bhw,chw->bc", image, image.conj())
    torch.testing.assert_close(flat, torch.einsum("bhw,chw->bc", values, values.conj()), rtol=1e-4, atol=1e-4)
    for index, side in enumerate(sides[:-1]):
        small = decomposition.image(decomposition.block(values, index), index)
        assert small.shape == (3, side, side)
        power = small.abs().square().sum(dim=(1, 2)) * (size / side) ** 2  # pixels keep their values
        block = decomposition.block(values, index).abs().square().sum(dim=(1, 2))
        torch.testing.assert_close(power, block)
