"""What Felloe costs, next to the raw limit of the machine in the same run: `make bench`."""
