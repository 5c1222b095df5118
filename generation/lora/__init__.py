"""LoRA adapters of flow-matching transformers, trained with an identity loss: read `loop.train` first."""
