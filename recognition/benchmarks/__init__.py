"""What a step costs, measured against heads and steps that work as arcface_torch's do; launch/bench.py runs it."""
