"""A hypernetwork that adds to each weight of a frozen network what the instance asks for.

phi_l(x) = phi_0,l + h(x, e_l; psi) for every block l, e_l being learned (Pollastro et al., arXiv 2604.06796). A block
is the weight or the bias of a dense layer or of a convolution; batch normalization stays as it is. A weight is made
slice by slice along its inputs, as by Ha et al. (arXiv 1609.09106): a column of a dense layer, the kernels of one input
channel of a convolution. Each slice has an embedding of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK, SLICE = 16, 8
"""Numbers of a block's embedding, and of a slice's."""

Layers = Mapping[str, nn.Module]
"""Dense layers and convolutions by name."""
Changes = dict[str, Tensor]
"""What is added to each parameter, by the names of its layer and its own: float (B, ...)."""


def layers_of(network: nn.Module, *kinds: type[nn.Module]) -> Layers:
    """Its layers of these kinds."""
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, kinds)}


class HyperNetwork(nn.Module):
    """h(x, e_l; psi): one hidden layer of ReLU units on features of the instance and the embeddings.

    Args:
        layers: to be modulated; none of their weights is part of the hypernetwork.
        features: numbers that describe the instance.
        hidden: units.
    """

    def __init__(self, layers: Layers, features: int, hidden: int) -> None:
        super().__init__()
        self.shapes = {
            f"{path}.{name}": parameter.shape
            for path, layer in layers.items()
            for name, parameter in layer.named_parameters()
        }
        slices = [_slices(shape) for shape in self.shapes.values()]
        self.blocks = nn.Parameter(torch.randn(len(slices), BLOCK))
        self.slices = nn.ParameterList(torch.randn(count, SLICE) for count in slices)
        self.of_features = nn.Linear(features, hidden)
        self.of_embeddings = nn.Linear(BLOCK + SLICE, hidden, bias=False)
        largest = max(prod(shape) // _slices(shape) for shape in self.shapes.values())
        self.output = nn.Linear(hidden, largest)  # a slice takes as many as it has weights
        nn.init.normal_(self.output.weight, std=1e-3)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor) -> Changes:
        """What to add for instances with these features, float (B, features)."""
        of_features = self.of_features(features)[:, None]
        blocks = zip(self.shapes.items(), self.blocks, self.slices, strict=True)
        return {
            name: self._change(of_features, torch.cat([block.expand(len(slices), -1), slices], dim=1), shape)
            for (name, shape), block, slices in blocks
        }

    def _change(self, of_features: Tensor, embeddings: Tensor, shape: torch.Size) -> Tensor:
        units = F.relu(of_features + self.of_embeddings(embeddings))  # (B, slices, hidden)
        size = prod(shape) // len(embeddings)
        made = F.linear(units, self.output.weight[:size], self.output.bias[:size])
        if len(shape) == 1:
            return made[:, 0]
        return made.unflatten(-1, (shape[0], *shape[2:])).transpose(1, 2)


@contextmanager
def modulated(layers: Layers, changes: Changes) -> Iterator[None]:
    """Within, each layer adds to its output what the changes of its weights make of its input, instance by instance.

    The layers are linear, so this is the network with weights phi_0 + h of each instance's own.
    """
    with ExitStack() as stack:
        for path, layer in layers.items():

            def add(layer: nn.Module, inputs: tuple[Tensor], output: Tensor, path: str = path) -> Tensor:
                return output + _of_each(layer, inputs[0], changes[f"{path}.weight"], changes[f"{path}.bias"])

            stack.callback(layer.register_forward_hook(add).remove)
        yield


def _of_each(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The layer of x (B, ...) with weights (B, ...) of each instance; a convolution has one group for each."""
    if isinstance(layer, nn.Linear):
        return torch.baddbmm(bias[:, None], x[:, None], weight.mT)[:, 0]
    assert isinstance(layer, nn.Conv2d)  # noqa: S101 - what layers can be
    y = F.conv2d(
        x.reshape(1, -1, *x.shape[2:]),
        weight.flatten(0, 1),
        bias.flatten(),
        layer.stride,
        layer.padding,
        groups=len(x),
    )
    return y.unflatten(1, (len(x), -1))[0]


def _slices(shape: torch.Size) -> int:
    return shape[1] if len(shape) > 1 else 1
