"""Random sampling masks for the hierarchy's training, as batched tensor code; those of the guide: `guide_tasks`."""

import torch
from torch import Tensor

_ACCELERATION = (2.5, 8.0)
_CENTRE = 0.32  # centre fraction times acceleration, as fastMRI pairs them: 4 with 0.08, 8 with 0.04
_PLANE = 0.25  # fraction of the masks that are 2-D random sampling; the others are columns


def random_masks(count: int, size: int, generator: torch.Generator) -> Tensor:
    """One mask per slice: random columns, or 2-D random bins, denser towards the centre.

    On the generator's device, bool (count, size, size), true where measured; the centre always is.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=generator.device)

    low, high = _ACCELERATION
    acceleration = torch.exp(uniform(count, 1) * torch.tensor(high / low).log()) * low
    offset = torch.arange(size, device=generator.device) - size // 2
    centre = (_CENTRE / acceleration * size).round().clamp_min(1)
    central = (offset >= -(centre // 2)) & (offset < centre - centre // 2)  # (count, N)
    rate = ((size / acceleration - centre) / (size - centre)).clamp_min(0)
    columns = (central | (uniform(count, size) < rate))[:, None, :].expand(-1, size, -1)

    radius = (offset[:, None].square() + offset[None].square()).sqrt() / size
    density = torch.exp(-radius.square() / (2 * 0.2**2))
    density = density / density.mean() / acceleration[:, :, None]
    plane = (uniform(count, size, size) < density) | (radius < 0.05)

    chosen = uniform(count, 1, 1) < _PLANE
    return torch.where(chosen, plane, columns)
