"""Attributes of a face changed by a generator that is trained against a discriminator (StarGAN)."""
