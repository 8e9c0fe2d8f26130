"""Measured against peers in one run, as ratios: `make bench`. Each script prints its own table."""
