"""Experiments: one Python file each, with a `config` EasyDict that holds only what differs from `base.py`.

`base.py` documents every key and its default; `datasets.py` holds what a training set dictates, `recipes.py` what
several experiments share beyond that. The docstring of an experiment reads like its record:

    Paper      where the method and the training set come from
    Command    how to run it on the number of GPUs that its learning rate was chosen for
    Expected   what arcface_torch published for the recipe (its README, 2022-2024): true accept rates in percent at a
               false accept rate of 1e-4 and 1e-5 on IJB-C, and at 1e-6 on MFR-ALL, whose service is closed since
    Cost       the published images/s with its hardware, and the hours of training that follow from it (derived)

File names and values are arcface_torch's, so its users find their experiment by the name they know.
"""
