"""Measures what the retoucher does (`quality`) and what it costs (`latency`), against `bench.budgets`."""
