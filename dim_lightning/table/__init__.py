"""A table of runs: a file that lists them, what of them is missing, and the table they make."""
