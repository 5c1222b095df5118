"""Train, verify and export face recognisers: records -> loader -> backbone -> sharded margin softmax -> report."""
