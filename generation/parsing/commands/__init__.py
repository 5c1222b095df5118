"""Commands of launch/parsing.py: a module each."""
