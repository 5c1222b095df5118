"""How good generated pictures are as a set: distances between what networks see in real ones and in those made."""
