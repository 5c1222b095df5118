"""What launch/poses.py does: one module for each command."""
