"""The CPU formulations of PReLU and of grouped convolutions against the stock operators."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recognition.backbones import prelu
from recognition.backbones.convolution import GroupedConv2d, widen_groups
from recognition.backbones.prelu import PReLU
from recognition.heap import keep_freed_memory


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prelu_equals_the_stock_operator(dtype, memory_format, monkeypatch):
    monkeypatch.setattr(prelu, "CHUNK_ELEMENTS", 2 * 6 * 35)
    torch.manual_seed(0)
    x = torch.randn(5, 6, 5, 7).to(dtype).to(memory_format=memory_format)
    x[0, :, 0, 0] = 0.0
    grad = torch.randn_like(x)
    slopes = torch.tensor([-0.5, 0.0, 0.25, 0.5, 0.9, 1.5])
    ours, stock = PReLU(6), nn.PReLU(6)
    results = []
    for module in (ours, stock):
        module.weight.data.copy_(slopes)
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        out = module(leaf) if module is ours else F.prelu(leaf, module.weight.to(dtype))
        out.backward(grad)
        assert leaf.grad.is_contiguous(memory_format=memory_format)
        results.append((out, leaf.grad.float(), module.weight.grad))
    assert torch.equal(results[0][0], results[1][0])
    ulp = torch.finfo(dtype).eps
    torch.testing.assert_close(results[0][1], results[1][1], rtol=ulp, atol=ulp)
    torch.testing.assert_close(results[0][2], results[1][2], rtol=8 * ulp, atol=8 * ulp)


def test_prelu_has_correct_first_and_second_derivatives():
    torch.manual_seed(0)
    module = PReLU(3).double()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)

    def apply(x, weight):
        return torch.func.functional_call(module, {"weight": weight}, x)

    weight = torch.tensor([0.25, 0.7, -0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(apply, (x, weight))
    assert torch.autograd.gradgradcheck(apply, (x, weight))
    # The graph of a first derivative takes another way than the derivative itself: both must arrive.
    plain = torch.autograd.grad(apply(x, weight).pow(2).sum(), (x, weight))
    graphed = torch.autograd.grad(apply(x, weight).pow(2).sum(), (x, weight), create_graph=True)
    torch.testing.assert_close(plain, graphed)


def test_prelu_without_gradients_is_the_stock_operator():
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(PReLU(3)(x), F.prelu(x, torch.full((3,), 0.25)))


@pytest.mark.parametrize(
    ("channels", "groups", "stride"), [(16, 16, 1), (16, 16, 2), (16, 8, 1), (32, 8, 1), (12, 6, 1)]
)
def test_grouped_convolution_in_bfloat16_equals_float32(channels, groups, stride):
    torch.manual_seed(0)
    conv = GroupedConv2d(channels, channels, 3, stride, 1, groups=groups, bias=False)
    x = torch.randn(3, channels, 10, 10).bfloat16().float()
    conv.weight.data = conv.weight.data.bfloat16().float()
    outs, grads = [], []
    for precision in (torch.float32, torch.bfloat16):
        leaf = x.clone().to(precision).requires_grad_()
        conv.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            out = conv(leaf)
        assert out.dtype == precision
        out.backward(torch.ones_like(out))
        outs.append(out.float())
        grads.append((leaf.grad.float(), conv.weight.grad))
    # Processors without kernels of their own for it add up the nine taps in bfloat16, each sum rounded by 2^-9.
    rounding = 9 * 2**-9
    magnitude = F.conv2d(x.abs(), conv.weight.abs(), None, stride, 1, 1, groups)
    assert ((outs[1] - outs[0]).abs() <= rounding * magnitude).all()
    leaf = torch.zeros_like(x, requires_grad=True)
    F.conv2d(leaf, conv.weight.detach().abs(), None, stride, 1, 1, groups).backward(torch.ones_like(outs[0]))
    assert ((grads[1][0] - grads[0][0]).abs() <= rounding * leaf.grad).all()
    torch.testing.assert_close(grads[1][1], grads[0][1], rtol=2**-7, atol=2**-4)


def test_widened_groups_are_the_same_convolution():
    torch.manual_seed(0)
    x = torch.randn(2, 16, 6, 6, dtype=torch.float64)
    weight = torch.randn(16, 2, 3, 3, dtype=torch.float64)
    want = F.conv2d(x, weight, padding=1, groups=8)
    torch.testing.assert_close(F.conv2d(x, widen_groups(weight, 2, 8), padding=1, groups=2), want)
    torch.testing.assert_close(F.conv2d(x, widen_groups(weight, 2, 4), padding=1, groups=4), want)


def test_heap_setting_is_accepted_where_there_is_glibc():
    import platform

    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
