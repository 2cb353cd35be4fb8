"""Options that say how `reconstruct` and `denoise` compute."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from mri_iahvae.cli.options import FiniteRange, seed_option
from mri_iahvae.errors import UsageError

_MOST_STEPS = 10_000


class _Steps(click.ParamType):
    """A whole number from 0 on, or "auto"."""

    name = "steps"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:  # noqa: ANN401
        """Read it."""
        if value == "auto":
            return "auto"
        try:
            return int(click.IntRange(0, _MOST_STEPS).convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is neither a whole number from 0 to {_MOST_STEPS} nor auto.", param, ctx)


# Without defaults of their own: what was not given must be told apart from what was given and does not apply.
_OPTIONS = (
    click.option(
        "--method",
        type=click.Choice(["amortized", "iterative", "hybrid", "paper"]),
        show_default="hybrid",
        help="Encoder only; refined from the prior; from the encoder; or the paper's Algorithm 1 as printed.",
    ),
    click.option(
        "--steps",
        type=_Steps(),
        metavar="N|auto",
        show_default="10",
        help="Refinement steps per scale (sequential: per layer); auto stops a scale when it has converged.",
    ),
    click.option(
        "--optimizer",
        type=click.Choice(["lbfgs", "adam"]),
        show_default="lbfgs",
        help="Optimizer of the refinement.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["joint", "sequential"]),
        show_default="joint",
        help="Refine all layers of a scale together, or one after the other.",
    ),
    click.option(
        "--imputation-rounds",
        type=click.IntRange(1, 1000),
        metavar="N",
        show_default="4",
        help="Rounds in which unmeasured bins are filled for the encoder, at scales measured in part.",
    ),
    click.option(
        "--joint-steps",
        type=click.IntRange(0, _MOST_STEPS),
        metavar="N",
        show_default="20",
        help="Steps in which all scales are refined together in the end, where measured bins are finer than missing"
        " ones, or noise is at least 0.3 of the RMS; 0 saves their time. Not for samples, amortized and paper.",
    ),
    click.option(
        "--shifts",
        type=click.IntRange(1, 8),
        metavar="K",
        show_default="1",
        help="Average the estimates of K shifted versions of each slice: better, in K times the time.",
    ),
    click.option(
        "--samples",
        type=click.IntRange(0, 10_000),
        metavar="K",
        show_default="0",
        help="Draw K posterior samples, in antithetic pairs, and return mean and standard deviation: K times the time.",
    ),
    click.option(
        "--keep-samples", is_flag=True, default=None, help="Write every sample too (`samples`, complex)."
    ),
    click.option(
        "--temperature",
        type=FiniteRange(min=0),
        metavar="T",
        show_default="1",
        help="Factor on the standard deviation of all that is drawn.",
    ),
    seed_option,
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        show_default="float32",
        help="Precision of the convolutions; bfloat16 saves time where the hardware has it.",
    ),
)


def inference_options(consistency: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: the options above, handed to the command as `settings` and `keep_samples`.

    The command raises UsageError when options contradict each other.

    Args:
        consistency: default of `--data-consistency`.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def collected(*args: Any, **options: Any) -> Any:  # noqa: ANN401 - Click passes options by name
            from mri_iahvae.inference.settings import InferenceSettings  # noqa: PLC0415 - no torch for --help

            names = [name for name in InferenceSettings.__dataclass_fields__ if name in options]
            given = {name: value for name in names if (value := options.pop(name)) is not None}
            keep = options.pop("keep_samples")
            _refuse_what_does_not_apply(given, keep=keep)
            settings = InferenceSettings(**{"data_consistency": consistency, **given})
            return command(*args, settings=settings, keep_samples=bool(keep), **options)

        data_consistency = click.option(
            "--data-consistency",
            type=click.Choice(["hard", "soft", "none"]),
            show_default=consistency,
            help="At measured bins return the data, their posterior mean given the noise, or the model's bins.",
        )
        for option in reversed((*_OPTIONS, data_consistency)):
            collected = option(collected)
        return collected

    return decorate


def _refuse_what_does_not_apply(given: dict[str, Any], *, keep: bool | None) -> None:
    """Options that the method would ignore are errors."""
    from mri_iahvae.inference.settings import IDLE  # noqa: PLC0415 - no torch for --help

    method = given.get("method")
    for name in IDLE.get(method or "", ()):
        if name in given:
            raise UsageError(f"--{name.replace('_', '-')} does not apply to --method {method}: leave one out")
    if given.get("samples") and "joint_steps" in given:
        raise UsageError("--joint-steps does not apply to --samples: leave one out")
    if not given.get("samples"):
        for name in ("temperature", "keep_samples"):
            if name in given or (keep and name == "keep_samples"):
                raise UsageError(f"--{name.replace('_', '-')} needs --samples")
