"""Names and shapes of the tensors in the published 79999_iter.pth, as its network's definition has them.

Written from the published definition (zllrunning/face-parsing.PyTorch, model.py, and a ResNet18 as torchvision has it
without its last layer), not from the class that is tested.
"""

from __future__ import annotations

Shape = tuple[int, ...]
BLOCKS = {  # of the ResNet: name -> inputs, outputs
    "layer1.0": (64, 64), "layer1.1": (64, 64), "layer2.0": (64, 128), "layer2.1": (128, 128),
    "layer3.0": (128, 256), "layer3.1": (256, 256), "layer4.0": (256, 512), "layer4.1": (512, 512),
}  # fmt: skip
WITH_NORM = {  # a convolution `conv` with a norm `bn`
    "cp.arm16.conv": (128, 256, 3, 3), "cp.arm32.conv": (128, 512, 3, 3),
    "cp.conv_head32": (128, 128, 3, 3), "cp.conv_head16": (128, 128, 3, 3), "cp.conv_avg": (128, 512, 1, 1),
    "ffm.convblk": (256, 256, 1, 1),
    "conv_out.conv": (256, 256, 3, 3), "conv_out16.conv": (64, 128, 3, 3), "conv_out32.conv": (64, 128, 3, 3),
}  # fmt: skip
PLAIN = {
    "cp.arm16.conv_atten": (128, 128, 1, 1), "cp.arm32.conv_atten": (128, 128, 1, 1),
    "ffm.conv1": (64, 256, 1, 1), "ffm.conv2": (256, 64, 1, 1),
    "conv_out.conv_out": (19, 256, 1, 1), "conv_out16.conv_out": (19, 64, 1, 1), "conv_out32.conv_out": (19, 64, 1, 1),
}  # fmt: skip


def norm(name: str, channels: int) -> dict[str, Shape]:
    keys = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{key}": (channels,) for key in keys} | {f"{name}.num_batches_tracked": ()}


def layout() -> dict[str, Shape]:
    found: dict[str, Shape] = {"cp.resnet.conv1.weight": (64, 3, 7, 7), **norm("cp.resnet.bn1", 64)}
    for block, (inputs, outputs) in BLOCKS.items():
        name = f"cp.resnet.{block}"
        found |= {f"{name}.conv1.weight": (outputs, inputs, 3, 3), **norm(f"{name}.bn1", outputs)}
        found |= {f"{name}.conv2.weight": (outputs, outputs, 3, 3), **norm(f"{name}.bn2", outputs)}
        if inputs != outputs:
            found |= {f"{name}.downsample.0.weight": (outputs, inputs, 1, 1), **norm(f"{name}.downsample.1", outputs)}
    for name, shape in WITH_NORM.items():
        found |= {f"{name}.conv.weight": shape, **norm(f"{name}.bn", shape[0])}
    for name, shape in PLAIN.items():
        found[f"{name}.weight"] = shape
    return found | norm("cp.arm16.bn_atten", 128) | norm("cp.arm32.bn_atten", 128)
