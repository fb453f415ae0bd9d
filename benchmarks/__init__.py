"""Speed, always beside a peer or the raw limit measured in the same run. `make bench` prints one table."""
