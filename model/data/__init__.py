"""Training clips made from portraits: marks painted in absorbance, smooth motion, light and a camera.

A clip is a pair of videos of one face, `raw` with imperfections and `target` without, with the true
imperfection map and the exact imperfection flow. See `model.data.clips`.
"""
