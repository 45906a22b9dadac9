"""CUDA kernels for what surrounds the network: crop, warp and paste, each with a twin that runs on a CPU.

`launch` says what to start and with which arguments, `cupy_` compiles and starts it on a GPU, `twins` says
what must come out.
"""
