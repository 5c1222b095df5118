"""Train, verify and export face recognisers: records -> loader -> backbone -> sharded margin softmax -> report."""

__version__ = "0.1.0"
