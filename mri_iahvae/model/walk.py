"""The walk over scales, coarse to fine: the one loop of inference, sampling and training."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mri_iahvae.model.protocols import Model, Scale


class Walk:
    """Yields each scale with the context that it starts from; the caller says how the scale turned out.

        for scale, h in walk:
            ...
            walk.extend(last, part)

    It goes over all scales of the model, or over some, given what the coarser ones have left.

    Attributes:
        coarse: complex (B, s, s), coefficients so far, as finer contexts see them.
        h: last context so far; None before the first scale.
    """

    def __init__(
        self,
        model: Model,
        batch: int,
        device: torch.device,
        *,
        scales: Sequence[Scale] | None = None,
        h: Tensor | None = None,
        coarse: Tensor | None = None,
    ) -> None:
        self.model = model
        self.scales = model.scales if scales is None else scales
        self.h = h
        nothing = torch.zeros(batch, 0, 0, dtype=torch.complex64, device=device)
        self.coarse = nothing if coarse is None else coarse
        self._index = 0

    def __iter__(self) -> Iterator[tuple[Scale, Tensor]]:
        for scale in self.scales:
            self._index = scale.index
            yield scale, scale.context(self.h, self.coarse)

    def block(self, part: Tensor) -> Tensor:
        """Coefficients up to the scale at hand, complex (B, s, s), if `part` are its own."""
        return self.model.decomposition.extend(self.coarse, part, self._index)

    def extend(self, last: Tensor, part: Tensor) -> None:
        """Settle the scale at hand by its last context and its coefficients, complex (B, s, s), zero off its ring."""
        self.coarse = self.block(part)
        self.h = last
