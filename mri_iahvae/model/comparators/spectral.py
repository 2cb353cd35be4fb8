"""A head that predicts the bins themselves, a literal reading of the paper."""

from torch import Tensor

from mri_iahvae.model.head import Head


class SpectralHead(Head):
    """As `Head`, without the transform."""

    def transform(self, predicted: Tensor) -> Tensor:
        """The bins as they are predicted."""
        return predicted
