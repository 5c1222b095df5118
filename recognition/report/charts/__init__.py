"""The charts of a report, drawn from its JSON alone: SVG text, or None where the figures for one are not there."""
