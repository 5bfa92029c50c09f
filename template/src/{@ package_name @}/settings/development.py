"""Settings of this service on a developer's machine."""

from .base import *
from .defaults.development import *

# Yours from here, for instance:
#   INSTALLED_APPS += ["debug_toolbar"]
