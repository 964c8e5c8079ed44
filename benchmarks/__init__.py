"""How fast sremote is, beside its peers and beside the bare line: python -m benchmarks."""
