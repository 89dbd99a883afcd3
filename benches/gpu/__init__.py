"""A visit to a machine with a GPU: correctness, then speed, in one command (visit.sh)."""
