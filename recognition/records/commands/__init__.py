"""The commands of launch/records.py, one a module: its docstring is the help, `add_arguments` and `run` the rest."""
