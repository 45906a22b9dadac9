"""`vretouch camera`: a camera in, a virtual camera out, the live filter between them."""
