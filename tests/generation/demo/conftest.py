"""As tests/generation/lora: all of this needs the `generation` extra, and nothing of it the network."""

from tests.generation.lora.conftest import generation_extra, offline  # noqa: F401
