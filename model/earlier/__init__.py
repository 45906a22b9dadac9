"""What AutoRetouch and BPFRe, the two systems that came before, share: presets, weights on disk, training.

The networks themselves are `model.autoretouch` and `model.bpfre`.
"""
