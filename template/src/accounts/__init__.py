"""The people who use this service."""
