"""Who starts workers: this machine, SLURM or Ray. A worker is the program itself, started by its arguments."""
