"""Addresses of the coordinator's pages, below /studies/."""

from django.urls import URLPattern, path

from console import allocation

app_name = "console"
urlpatterns: list[URLPattern] = [
    path("<slug:slug>/allocation/", allocation.everybody, name="allocation"),
    path("<slug:slug>/allocation/lists/", allocation.lists, name="allocation-lists"),
    path("<slug:slug>/allocation/of/<str:code>/", allocation.one, name="allocate"),
    path("<slug:slug>/allocation/of/<str:code>/in-error/", allocation.in_error, name="in-error"),
]
