"""VRetouchEr as published (CVPR 2024): the network of Tables 1-4, its losses and Algorithm 1.

Equation, table and line numbers are the paper's and its supplement's. Where they are silent or contradict
themselves, the docstring of the part says what was decided.
"""
