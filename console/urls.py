"""Addresses of the coordinator's pages, below /studies/."""

from django.urls import URLPattern

app_name = "console"
urlpatterns: list[URLPattern] = []
