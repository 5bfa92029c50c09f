"""Settings of this service; without a choice of environment, the safe base."""

from .base import *
