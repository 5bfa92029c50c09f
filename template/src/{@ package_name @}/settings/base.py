"""Settings of this service in every environment."""

from .defaults.base import *

# Before the others, so that the templates of this service win.
INSTALLED_APPS = ["accounts", "pages", *INSTALLED_APPS]

AUTH_USER_MODEL = "accounts.User"

# Yours from here. The reader of the environment takes variables of yours, too:
#   env = Environment()
#   PAYMENT_KEY = env.text("PAYMENT_KEY", "The key of the payment service.")
