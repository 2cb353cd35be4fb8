"""Progress within slices: networks report as they are called, so the numerics need not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from mri_iahvae.inference.settings import LADDERLESS, InferenceSettings
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.scale import BandScale

_USUAL_STEPS = 15  # of refinement, where they go on until it has converged

Calls = tuple[Sequence[nn.Module], Sequence[float]]
"""Modules that are called one after the other, perhaps again and again; and what the work up to each call costs, in any
units, and last what follows."""

Progress = Callable[[float], None]
"""Called with how much was just finished, in slices: parts of one, too, which add up."""


@contextmanager
def reported(
    modules: Sequence[nn.Module], costs: Sequence[float], amount: float, progress: Progress
) -> Iterator[None]:
    """Report work whose progress the calls of some modules show.

    Args:
        modules: of `Calls`.
        costs: of `Calls`.
        amount: of the whole work, all of which is reported at its end; what was reported of work that fails is taken
            back, as it is done again.
        progress: takes it.
    """
    left, done, unit = iter(costs[:-1]), 0.0, amount / sum(costs)

    def called(*_: object) -> None:
        nonlocal done
        part = unit * next(left, 0.0)
        done += part
        progress(part)

    handles = [module.register_forward_hook(called) for module in modules]
    try:
        yield
    except BaseException:
        progress(-done)
        raise
    finally:
        for handle in handles:
            handle.remove()
    progress(amount - done)


def guide_calls(guide: Guide, settings: InferenceSettings) -> Calls:
    """Unrolled steps, for each copy of the measurement."""
    steps = list(guide.steps)
    return steps, [1.0] * (len(steps) * settings.symmetries + 1)


def scale_calls(model: IAHVAE) -> Calls:
    """Beginnings of the scales, whose costs go by their pixels."""
    scales = [scale for scale in model.scales if isinstance(scale, BandScale)]
    return [scale.merge for scale in scales[1:]], [float(scale.side**2) for scale in scales] or [1.0]


def guide_part(settings: InferenceSettings, size: float) -> float:
    """Fraction of the time that the guide takes, about: a copy takes as long as a step of refinement.

    Args:
        settings: how it is computed.
        size: of the slice, over that of the model's grid.
    """
    if settings.method in LADDERLESS:
        return 1.0
    copies = settings.symmetries * size * (1 + settings.series)  # frames of a series are estimated again
    return copies / (copies + 1 + min(settings.budget[0], _USUAL_STEPS))
