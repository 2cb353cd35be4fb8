"""The ladder of an ordinary HVAE: every latent acts on every bin, so that its layers are those of one scale."""

import torch
from torch import Tensor, nn

from mri_iahvae.model.gaussian import Gaussian
from mri_iahvae.model.iahvae import IAHVAE


class WholeLadder(nn.Module):
    """All layers of an ordinary HVAE as those of one scale: what `refine` asks of a model.

    Args:
        model: with an ordinary decoder.
    """

    def __init__(self, model: IAHVAE) -> None:
        super().__init__()
        self.model = model
        count = range(len(model.decoder))
        self._layers = [(index, j) for index in count for j in range(len(model.layers(index)))]

    def start(self, batch: int) -> Tensor:
        """The context before the first layer, (B, C, 1, 1)."""
        return self.model.context(0, None, self._nothing(batch))

    def descend(
        self, _index: int, h: Tensor, whitened: list[Tensor] | None = None, first: int = 0
    ) -> tuple[Tensor, list[Gaussian]]:
        """`IAHVAE.descend` over the layers of all scales; h is what layer `first` - 1 left behind."""
        priors = []
        layers = self._layers[first:]
        for number, (index, j) in enumerate(layers if whitened is None else layers[: len(whitened)]):
            if index and j == 0:
                h = self.model.context(index, h, self._nothing(len(h)))
            prior, residual = self.model.layers(index)[j].prior(h)
            z = prior.mean if whitened is None else prior.at(whitened[number])
            h = self.model.layers(index)[j].advance(h, residual, z)
            priors.append(prior)
        return h, priors

    def band(self, _index: int, h: Tensor) -> Tensor:
        """All bins from the last context: complex64 (B, N, N)."""
        return self.model.band(len(self.model.decoder) - 1, h)

    def _nothing(self, batch: int) -> Tensor:
        """The coarser bins, which contexts do not see."""
        return torch.zeros(batch, 0, 0, dtype=torch.complex64, device=self.model.gains.device)
