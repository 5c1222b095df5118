"""Generation with frozen recognition backbones; imports `recognition`, never the reverse."""
