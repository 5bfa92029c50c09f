"""Defaults of the settings. Maintained by the template: change the files one folder up instead."""
