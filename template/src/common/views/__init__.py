"""Views that every service has. Maintained by the template."""
