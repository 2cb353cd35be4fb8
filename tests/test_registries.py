"""Every kind that a configuration can name is registered wherever it is looked up."""

from typing import get_args

from mri_iahvae.inference.refine import OPTIMIZERS, SCHEDULES
from mri_iahvae.inference.settings import CONVERGES, Optimizer, Schedule
from mri_iahvae.model import config
from mri_iahvae.model.iahvae import DECODERS, ENCODERS, HEADS


def test_every_kind_is_registered():
    assert set(ENCODERS) == set(config.GROWS) == set(get_args(config.Encoder))
    assert set(HEADS) == set(config.IMAGES) == set(get_args(config.Heads))
    assert set(DECODERS) == set(config.DECODERS) == set(get_args(config.Decoder))
    assert set(OPTIMIZERS) == set(CONVERGES) == set(get_args(Optimizer))
    assert set(SCHEDULES) == set(get_args(Schedule))
