"""Addresses that are open to everybody."""

from django.urls import URLPattern, path

from console import enrol

urlpatterns: list[URLPattern] = [path("enrol", enrol.scanned, name="scanned")]
