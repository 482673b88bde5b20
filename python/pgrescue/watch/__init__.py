"""The watch over a service: places that look, what is concluded, whom to tell, what may be done alone."""
