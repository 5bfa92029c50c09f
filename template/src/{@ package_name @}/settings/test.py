"""Settings of this service in tests."""

from .base import *
from .defaults.test import *

# Yours from here.
