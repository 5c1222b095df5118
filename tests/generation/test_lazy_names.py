"""The public names of the package: all there, and none loaded before it is used."""

import subprocess
import sys

import pytest

import generation


def test_every_public_name_can_be_had():
    for name in generation.__all__:
        assert getattr(generation, name).__name__ == name
        assert name in dir(generation)
    with pytest.raises(AttributeError, match="module 'generation' has no attribute 'FrozenBackBone'"):
        generation.FrozenBackBone  # noqa: B018


def test_importing_the_package_loads_no_library():
    script = (
        "import sys, generation; print(*{'torch', 'diffusers', 'peft', 'transformers', 'onnxruntime'} & {*sys.modules})"
    )
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == ""
