"""CUDA kernels for what surrounds the network: crop, warp, guard and paste.

`launch` says what to start and with which arguments, `cupy_` compiles and starts it on a GPU. The tests hold
each against a twin that runs on a CPU.
"""
