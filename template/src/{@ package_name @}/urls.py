"""The addresses of this service."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("common.urls")),
    path("admin/", admin.site.urls),
    path("", include("pages.urls")),
]
