"""Addresses of the pages about a trial as a whole: its screening, its flow."""

from django.urls import URLPattern, path

from console import flow

urlpatterns: list[URLPattern] = [
    path("<slug:slug>/flow/", flow.show, name="flow"),
    path("<slug:slug>/flow/flow.<slug:kind>", flow.download, name="flow-file"),
    path("<slug:slug>/screening/", flow.log, name="screening"),
]
