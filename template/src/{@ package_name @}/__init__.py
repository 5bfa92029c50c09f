# @if task_queue == "celery"
"""What joins the apps of {@ project_slug @}. Maintained by the template."""

# Loaded with the package, so that the tasks of every app belong to it.
from .celery import app as celery_app

__all__ = ["celery_app"]
# @else
"""What joins the apps of {@ project_slug @}. Maintained by the template."""
# @endif
