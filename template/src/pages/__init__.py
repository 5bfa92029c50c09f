"""The public pages: an example of an app, to be changed or deleted."""
