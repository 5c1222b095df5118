"""Commands: one thin file each; `python launch/X.py -h` explains it."""
