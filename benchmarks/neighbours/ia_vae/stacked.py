"""Encoders of many seeds, trained side by side in numpy: weights are stacked, and a seed sees nothing of the others.

Tensors are so small here that time is the number of operations, and automatic differentiation has several times as
many. So the derivatives are written out; tests compare them with torch's.

An encoder has one hidden layer of ReLU units. All its weights stand in one row of `weights`, float32 (S, P).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.neighbours.ia_vae.toy import SIGMA, elbo

RATE, BATCH = 1e-4, 32
EMBEDDING = 2
"""Numbers of a block's embedding."""
BLOCKS, LARGEST = 3, 8
"""Hidden layer (8 numbers), the mean's head (6) and that of log sigma (6)."""

Array = NDArray[np.float32]


class Encoder(Protocol):
    """Points to posteriors, with derivatives."""

    def initial(self, seed: int) -> Array:
        """Weights (P,)."""

    def forward(self, weights: Array, x: Array) -> tuple[Array, tuple[Array, ...]]:
        """From (S, P) and points with a last coordinate of 1 (S, B, 4): mean and log sigma (S, B, 4); and for later."""

    def backward(self, weights: Array, x: Array, kept: tuple[Array, ...], of_y: Array) -> Array:
        """The loss's derivatives (S, P) from those in mean and log sigma (S, B, 4)."""


class Plain:
    """The encoder of a VAE, of some width: 8 width + 4 weights."""

    def __init__(self, width: int) -> None:
        self.width = width

    def initial(self, seed: int) -> Array:
        """As `torch.nn.Linear` begins."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers = nn.Linear(3, self.width), nn.Linear(self.width, 4)
        parts = [part.detach().numpy() for layer in layers for part in (layer.weight.T, layer.bias)]
        return np.concatenate([part.ravel() for part in parts])

    def split(self, weights: Array) -> tuple[Array, Array]:
        """Hidden layer (S, 4, width) and heads (S, width + 1, 4); the last rows are biases."""
        hidden, heads = np.split(weights, [4 * self.width], axis=1)
        return hidden.reshape(-1, 4, self.width), heads.reshape(-1, self.width + 1, 4)

    def forward(self, weights: Array, x: Array) -> tuple[Array, tuple[Array, ...]]:
        """See `Encoder`."""
        hidden, heads = self.split(weights)
        units = _rectified(x @ hidden)
        return units @ heads, (units,)

    def backward(self, weights: Array, x: Array, kept: tuple[Array, ...], of_y: Array) -> Array:
        """See `Encoder`."""
        _, heads = self.split(weights)
        (units,) = kept
        of_units = (of_y @ heads[:, :-1].swapaxes(1, 2)) * (units[..., :-1] > 0)
        return _rows(x.swapaxes(1, 2) @ of_units, units.swapaxes(1, 2) @ of_y)


class Modulated:
    """The encoder of IA-VAE: its weights are the hypernetwork's, on frozen encoders of two units (S, 20).

    The hypernetwork is one linear map of [x; e_l] to 8 numbers, of which a block takes as many as it has weights.
    """

    def __init__(self, base: Array) -> None:
        self.hidden, self.heads = Plain(2).split(base)

    def initial(self, seed: int) -> Array:
        """Weights of the map N(0, 1e-3), biases 0, embeddings N(0, 1)."""
        noise = np.random.default_rng(seed)
        of_x, of_block = noise.normal(0, 1e-3, (4, LARGEST)), noise.normal(0, 1e-3, (EMBEDDING, LARGEST))
        of_x[-1] = 0
        parts = (of_x, of_block, noise.normal(size=(BLOCKS, EMBEDDING)))
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32)

    @staticmethod
    def split(weights: Array) -> tuple[Array, Array, Array]:
        """The map of x with its bias (S, 4, 8), that of the embeddings (S, EMBEDDING, 8), and those themselves."""
        of_x, of_block, embeddings = np.split(weights, [4 * LARGEST, (4 + EMBEDDING) * LARGEST], axis=1)
        maps = of_x.reshape(-1, 4, LARGEST), of_block.reshape(-1, EMBEDDING, LARGEST)
        return *maps, embeddings.reshape(-1, BLOCKS, EMBEDDING)

    def forward(self, weights: Array, x: Array) -> tuple[Array, tuple[Array, ...]]:
        """See `Encoder`."""
        of_x, of_block, embeddings = self.split(weights)
        change = (x @ of_x)[:, :, None] + (embeddings @ of_block)[:, None]  # (S, B, BLOCKS, 8)
        hidden = change[:, :, 0].reshape(*x.shape[:2], 4, 2)
        heads = change[:, :, 1:, :6].reshape(*x.shape[:2], 2, 3, 2)
        units = _rectified(x @ self.hidden + np.einsum("sbi,sbio->sbo", x, hidden))
        y = units @ self.heads + np.einsum("sbi,sbkio->sbko", units, heads).reshape(*x.shape[:2], 4)
        return y, (units, heads)

    def backward(self, weights: Array, x: Array, kept: tuple[Array, ...], of_y: Array) -> Array:
        """See `Encoder`."""
        units, heads = kept
        _, of_block, embeddings = self.split(weights)
        by_head = of_y.reshape(*x.shape[:2], 2, 2)
        of_units = of_y @ self.heads[:, :-1].swapaxes(1, 2)
        of_units += np.einsum("sbko,sbkio->sbi", by_head, heads[..., :-1, :])
        of_units *= units[..., :-1] > 0
        of_change = np.zeros((*x.shape[:2], BLOCKS, LARGEST), x.dtype)
        of_change[:, :, 0] = (x[..., None] * of_units[:, :, None]).reshape(*x.shape[:2], 8)
        outer = units[:, :, None, :, None] * by_head[:, :, :, None]
        of_change[:, :, 1:, :6] = outer.reshape(*x.shape[:2], 2, 6)
        by_block = of_change.sum(1)
        return _rows(
            x.swapaxes(1, 2) @ of_change.sum(2),
            embeddings.swapaxes(1, 2) @ by_block,
            by_block @ of_block.swapaxes(1, 2),
        )


class Trained(NamedTuple):
    """Weights (S, P) at each seed's best epoch by the validation bound, and how many epochs each seed took."""

    weights: Array
    epochs: list[int]


def posteriors(encoder: Encoder, weights: Array, x: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log sigma of points (n, 3), float64 (S, n, 2) each."""
    points = np.broadcast_to(_with_one(x), (len(weights), len(x), 4))
    mean, log_sigma = torch.from_numpy(encoder.forward(weights, points)[0]).double().chunk(2, dim=-1)
    return mean, log_sigma


def train(
    encoder: Encoder, seeds: Sequence[int], points: Array, validation: Array, epochs: int, patience: int
) -> Trained:
    """Maximise the bound by Adam, one draw of z per point.

    Args:
        encoder: what is trained.
        seeds: of the initial weights, the batches and the draws of each model.
        points: float32 (n, 3), n a multiple of the batch.
        validation: float32 (m, 3).
        epochs: at most so many.
        patience: epochs without a better validation bound after which a seed's weights no longer count.
    """
    weights = np.stack([encoder.initial(seed) for seed in seeds])
    noises = [np.random.default_rng(seed) for seed in seeds]
    inputs, adam, kept = _with_one(points), Adam(weights), weights.copy()
    best = np.full(len(seeds), -np.inf)
    best_epoch, last = np.zeros(len(seeds), int), np.zeros(len(seeds), int)
    running = np.ones(len(seeds), bool)
    for epoch in range(1, epochs + 1):
        order = np.stack([noise.permutation(len(points)) for noise in noises])
        draws = np.stack([noise.standard_normal((len(points), 2), np.float32) for noise in noises])
        shuffled = inputs[order]
        for first in range(0, len(points), BATCH):
            x, draw = shuffled[:, first : first + BATCH], draws[:, first : first + BATCH]
            y, values = encoder.forward(weights, x)
            adam.step(encoder.backward(weights, x, values, loss_gradient(x, draw, y)))
        bound = elbo(torch.from_numpy(validation), *posteriors(encoder, weights, validation)).mean(1).numpy()
        last[running] = epoch
        better = running & (bound > best)
        best[better], best_epoch[better], kept[better] = bound[better], epoch, weights[better]
        running &= epoch - best_epoch < patience
        if not running.any():
            break
    return Trained(kept, last.tolist())


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) on one array, which it changes."""

    def __init__(self, weights: Array) -> None:
        self.weights, self.count = weights, 0
        self.mean, self.square = np.zeros_like(weights), np.zeros_like(weights)

    def step(self, gradient: Array) -> None:
        """One step down."""
        self.count += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient * gradient - self.square)
        rate = RATE * (1 - 0.999**self.count) ** 0.5 / (1 - 0.9**self.count)
        self.weights -= rate * self.mean / (np.sqrt(self.square) + 1e-8 * (1 - 0.999**self.count) ** 0.5)


def loss_gradient(x: Array, draw: Array, y: Array) -> Array:
    """Derivatives in mean and log sigma y (S, B, 4) of the negative bound of one z, its mean over the batch.

    z = mean + sigma draw; the divergence from the prior is exact.
    """
    mean, sigma = y[..., :2], np.exp(y[..., 2:])
    noise = sigma * draw
    ones = 1 + mean + noise  # 1 + z
    error = 1 + x[..., :3] - np.stack([ones[..., 0], ones[..., 1], ones[..., 0] * ones[..., 1]], axis=-1)
    of_z = (error[..., :2] + error[..., 2:] * ones[..., ::-1]) / -(SIGMA**2)
    return np.concatenate([of_z + mean, of_z * noise + sigma * sigma - 1], axis=-1) / x.shape[1]


def _with_one(points: Array) -> Array:
    return np.concatenate([points, np.ones_like(points[:, :1])], axis=1)


def _rectified(values: Array) -> Array:
    """ReLU, and a last unit of 1 for the biases."""
    units = np.ones((*values.shape[:-1], values.shape[-1] + 1), values.dtype)
    np.maximum(values, 0, out=units[..., :-1])
    return units


def _rows(*parts: Array) -> Array:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
