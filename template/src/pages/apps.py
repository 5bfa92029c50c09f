"""The app of the public pages."""

from django.apps import AppConfig


class PagesConfig(AppConfig):
    """Name the app."""

    name = "pages"
