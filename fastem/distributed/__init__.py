"""The same passes on a cluster: partitions stay where they are, statistics travel."""
