"""Commands of launch/edits.py: a module each."""
