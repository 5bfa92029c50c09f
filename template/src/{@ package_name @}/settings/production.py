"""Settings of this service in production, and in a staging that resembles it."""

from .base import *
from .defaults.production import *

# Yours from here, for instance:
#   LOGGING["loggers"]["pages"] = {"level": "DEBUG"}
