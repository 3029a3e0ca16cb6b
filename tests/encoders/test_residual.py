import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from dim_lightning.encoders import ResidualEncoder
from dim_lightning.encoders.residual import ResidualBlock
from dim_lightning.errors import InputError

SMALL = {"widths": (4, 8), "blocks": (1, 2), "local_stage": 1, "hidden_dim": 16, "embedding_dim": 6}
OFFICIAL = {
    "widths": (64, 128, 256),
    "blocks": (2, 2, 2),
    "bottleneck": True,
    "stem_stride": 2,
    "pool": False,
    "local_stage": 2,
}


def on_meta(**settings):
    with torch.device("meta"):
        return ResidualEncoder(32, **settings).eval()


def test_the_default_trunk_has_the_parameters_of_resnet_18():
    """torchvision's has 11,689,512: a 7x7 stem and 1,000 classes more, a 3x3 stem less."""
    encoder = on_meta()
    trunk = sum(p.numel() for p in encoder.parameters())
    trunk -= sum(p.numel() for p in encoder.head.parameters())
    assert trunk == 11_689_512 - (49 - 9) * 3 * 64 - (512 * 1000 + 1000)
    assert encoder.feature_shape == (256, 8, 8)


@pytest.mark.parametrize(
    ("settings", "shape", "layers"),
    [
        ({}, (256, 8, 8), {"conv": 512 * 16, "pool": 512, "fc": 1024, "y": 64}),
        ({"local_stage": 1}, (64, 32, 32), {"conv": 512 * 16, "pool": 512, "fc": 1024, "y": 64}),
        (OFFICIAL, (512, 8, 8), {"conv": 1024 * 16, "fc": 1024, "y": 64}),
    ],
)
def test_shapes(settings, shape, layers):
    encoder = on_meta(**settings)
    features = encoder(torch.empty(2, 3, 32, 32, device="meta"))
    assert encoder.feature_shape == features.feature_map.shape[1:] == shape
    assert {name: layer.shape[1] for name, layer in features.layers.items()} == layers
    assert list(features.layers)[-1] == "y"


@pytest.mark.parametrize(("block", "bottleneck"), [(BasicBlock, False), (Bottleneck, True)])
def test_the_trunk_is_torchvisions_but_for_the_stem(block, bottleneck):
    torch.manual_seed(0)
    encoder = ResidualEncoder(16, blocks=(1, 2, 1, 1), bottleneck=bottleneck, hidden_dim=8).double()
    theirs = ResNet(block, [1, 2, 1, 1])
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool, theirs.fc = nn.Identity(), nn.Identity()
    theirs.double()
    ours = [value for name, value in encoder.state_dict().items() if not name.startswith("head")]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours, strict=True)))
    images = torch.rand(3, 3, 16, 16, dtype=torch.double)
    features = encoder(images)
    torch.testing.assert_close(features.layers["pool"], theirs(2 * images - 1))


def test_an_odd_size():
    encoder = ResidualEncoder(9, **SMALL, stem_stride=2, pool=False)
    features = encoder(torch.rand(2, 3, 9, 9))
    assert encoder.feature_shape == features.feature_map.shape[1:] == (4, 5, 5)
    assert features.layers["conv"].shape == (2, 8 * 9)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_a_block_whose_convolutions_are_silenced_is_its_shortcut(bottleneck):
    outputs = 16 if bottleneck else 4
    block = ResidualBlock(outputs, 4, 1, bottleneck)
    assert isinstance(block.shortcut, nn.Identity)
    nn.init.zeros_(block.convolutions[-1][1].weight)
    x = torch.randn(2, outputs, 5, 5)
    torch.testing.assert_close(block(x), x.relu())


def test_a_gaussian_one_starts_as_the_deterministic_one():
    features = []
    for gaussian in (False, True):
        torch.manual_seed(0)
        encoder = ResidualEncoder(8, **SMALL, gaussian=gaussian)
        features.append(encoder(torch.rand(4, 3, 8, 8, generator=torch.Generator())))
    assert torch.equal(features[0].mean, features[1].mean)
    assert features[0].log_variance is None
    assert features[1].log_variance.shape == (4, 6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"blocks": (1,)}, "a width and a number of blocks"),
        ({"stem_stride": 3}, "a stride of 1 or 2"),
        ({"local_stage": 3}, "expected 1 to 2"),
        ({"hidden_dim": 0}, "sizes of at least 1"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        ResidualEncoder(16, **(SMALL | settings))
