"""Addresses of the pages about a trial as a whole: its set-up, its screening, its flow."""

from django.urls import URLPattern, path

from console import flow, set_up

urlpatterns: list[URLPattern] = [
    path("new/", set_up.new, name="new-study"),
    path("<slug:slug>/setup/", set_up.show, name="set-up"),
    path("<slug:slug>/setup/start/", set_up.start, name="start-study"),
    path("<slug:slug>/setup/<slug:step>/", set_up.add, name="add-to-study"),
    path("<slug:slug>/flow/", flow.show, name="flow"),
    path("<slug:slug>/flow/flow.<slug:kind>", flow.download, name="flow-file"),
    path("<slug:slug>/screening/", flow.log, name="screening"),
]
