"""One adapter file for each runtime that can run the network."""
