"""The networks: the sizes that the paper's have, the layout of its authors' checkpoints, labels that count."""

import pytest
import torch

from generation import StarGANDiscriminator, StarGANGenerator
from generation.stargan.networks import load_published
from recognition.errors import InputError


def size_of(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_sizes_of_the_published_networks():
    assert size_of(StarGANGenerator()) == 8_430_528
    assert size_of(StarGANDiscriminator()) == 44_884_928


@pytest.mark.parametrize("c_dim", [1, 4, 7])
def test_the_number_of_attributes_goes_into_both_networks(c_dim):
    generator, discriminator = StarGANGenerator(8, c_dim, 1), StarGANDiscriminator(32, 8, c_dim, 3)
    made = generator(torch.zeros(2, 3, 32, 32), torch.ones(2, c_dim))
    assert made.shape == (2, 3, 32, 32)
    realness, logits = discriminator(made)
    assert realness.shape == (2, 1, 4, 4)  # three halvings
    assert logits.shape == (2, c_dim)
    assert size_of(StarGANGenerator(8, c_dim, 1)) - size_of(StarGANGenerator(8, 1, 1)) == (c_dim - 1) * 8 * 49


def test_layers_of_the_paper():
    """Tables 4 and 5: kernels, strides and channels, from the input to the output."""
    convolutions = [
        m for m in StarGANGenerator().modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    ]
    kinds = [(m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions]
    down = [(8, 64, 7, 1), (64, 128, 4, 2), (128, 256, 4, 2)]
    up = [(256, 128, 4, 2), (128, 64, 4, 2), (64, 3, 7, 1)]
    assert kinds == [*down, *[(256, 256, 3, 1)] * 12, *up]
    discriminator = [m for m in StarGANDiscriminator().main if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in discriminator] == [64, 128, 256, 512, 1024, 2048]
    slopes = {m.negative_slope for m in StarGANDiscriminator().main if isinstance(m, torch.nn.LeakyReLU)}
    assert slopes == {0.01}


def test_norms_do_the_same_in_training_and_in_evaluation():
    generator = StarGANGenerator(8, 2, 1)
    x, labels = torch.randn(3, 3, 16, 16), torch.ones(3, 2)
    assert torch.equal(generator.train()(x, labels), generator.eval()(x, labels))
    assert not list(generator.buffers())


def test_pictures_of_a_batch_know_nothing_of_each_other():
    networks = StarGANGenerator(8, 2, 1), StarGANDiscriminator(16, 8, 2, 2)
    x, labels = torch.randn(3, 3, 16, 16), torch.tensor([[0.0, 1], [1, 0], [1, 1]])
    torch.testing.assert_close(networks[0](x, labels)[1:2], networks[0](x[1:2], labels[1:2]))
    torch.testing.assert_close(networks[1](x)[1][1:2], networks[1](x[1:2])[1])


def test_labels_are_seen():
    generator = StarGANGenerator(8, 2, 1)
    x = torch.randn(1, 3, 16, 16)
    first, second = (generator(x, torch.tensor([labels])) for labels in ([0.0, 1.0], [1.0, 0.0]))
    assert (first - second).abs().max() > 1e-3


def test_a_residual_generator_changes_nothing_at_first():
    generator = StarGANGenerator(8, 2, 1, residual=True)
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    assert torch.equal(generator(x, torch.ones(2, 2)), x)
    generator.main[-2].weight.data.fill_(1.0)
    made = generator(x, torch.ones(2, 2))
    assert not torch.equal(made, x)
    assert made.abs().max() <= 1
    assert generator.state_dict().keys() == StarGANGenerator(8, 2, 1).state_dict().keys()


def test_weights_of_the_published_code_load():
    """It kept running statistics in its norms: those are left out, whatever else is odd is told."""
    generator = StarGANGenerator(8, 2, 1)
    theirs = {name: torch.randn_like(tensor) for name, tensor in generator.state_dict().items()}
    statistics = {"main.1.running_mean": torch.zeros(8), "main.1.num_batches_tracked": torch.tensor(3)}
    load_published(generator, theirs | statistics, "200000-G.ckpt")
    assert all(torch.equal(generator.state_dict()[name], tensor) for name, tensor in theirs.items())
    with pytest.raises(InputError, match="^200000-G.ckpt does not fit this network: .*size mismatch"):
        load_published(StarGANGenerator(8, 3, 1), theirs, "200000-G.ckpt")


def test_names_of_the_published_checkpoints():
    names = set(StarGANGenerator().state_dict())
    blocks = {f"main.{9 + b}.main.{layer}.weight" for b in range(6) for layer in (0, 1, 3, 4)}
    others = {f"main.{layer}.weight" for layer in (0, 1, 3, 4, 6, 7, 15, 16, 18, 19, 21)}
    assert {name for name in names if name.endswith("weight")} == blocks | others
    assert {"conv1.weight", "conv2.weight", "main.0.weight", "main.10.bias"} <= set(StarGANDiscriminator().state_dict())


def test_a_size_that_cannot_be_halved_so_often():
    with pytest.raises(InputError, match="image_size 48 must be a multiple of 64"):
        StarGANDiscriminator(48)
