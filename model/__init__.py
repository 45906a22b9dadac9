"""The causal VRetouchEr network: torch only, no input or output, no threads, no clocks."""
