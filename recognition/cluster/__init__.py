"""Jobs on a cluster: scripts for SLURM, where ranks meet, which network they talk over, and a check of all that."""
