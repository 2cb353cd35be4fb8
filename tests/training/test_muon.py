import pytest
import torch
from torch import nn

from mri_iahvae.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(4, 36), (36, 4), (8, 8)])
def test_singular_values_become_one_and_singular_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.mT @ orthogonal(matrix) @ right.mT
    values = turned.diagonal()
    torch.testing.assert_close(turned, torch.diag(values), atol=1e-5, rtol=0)
    assert 0.6 < values.min() <= values.max() < 1.3


def test_no_gradient_direction_is_no_step():
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_steps_are_as_large_as_those_of_adamw_whatever_the_gradients_size():
    for size in (1e-6, 1e3):
        kernel = nn.Parameter(torch.zeros(16, 8, 3, 3))
        optimizer = Muon([{"params": [kernel], "lr": 0.01, "weight_decay": 0.5, "orthogonal": True}])
        kernel.grad = size * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        assert kernel.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.3)
        assert (kernel * kernel.grad).sum() < 0


def test_decay_draws_a_kernel_to_zero():
    kernel = nn.Parameter(torch.ones(2, 2))
    kernel.grad = torch.zeros(2, 2)
    Muon([{"params": [kernel], "lr": 0.1, "weight_decay": 0.5, "orthogonal": True}]).step()
    torch.testing.assert_close(kernel.data, torch.full((2, 2), 0.95))


def test_all_else_is_adamw():
    values = [nn.Parameter(torch.linspace(-1, 1, 6)) for _ in range(2)]
    kernel = nn.Parameter(torch.eye(3))
    both = Muon(
        [{"params": values[:1], "orthogonal": False}, {"params": [kernel], "orthogonal": True}], lr=0.1
    )
    alone = torch.optim.AdamW(values[1:], lr=0.1)
    for _ in range(3):
        for value in values:
            value.grad = value.data.sin()
        kernel.grad = kernel.data.clone()
        both.step()
        alone.step()
    assert torch.equal(*values)
    assert not torch.equal(kernel, torch.eye(3))


def test_a_closure_sees_all_groups():
    kernel = nn.Parameter(torch.eye(3))
    optimizer = Muon([{"params": [kernel], "orthogonal": True}], lr=0.1)
    kernel.grad = torch.ones(3, 3)

    def closure():
        optimizer.zero_grad()
        assert torch.is_grad_enabled()
        return 5.0

    assert optimizer.step(closure) == 5.0
    assert torch.equal(kernel, torch.eye(3))
