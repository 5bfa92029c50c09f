"""Fixtures that all tests share; yours from here."""
