"""Docker for the tests: an engine, and the public images or stand-ins for them."""
