"""A second generator of imperfect faces in motion, for judging alone: nothing trains on it.

It shares no code with `model.data` and differs in every choice: marks are closed curves of random harmonics
sized in millimetres, colours are shifts in CIE L*a*b*, the head is a solid that turns, light and noise follow
other laws, and the codec is a real one. What a network gains here it gains on imperfections that it was not
trained for.
"""
