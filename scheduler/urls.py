from django.urls import URLPattern, path

from scheduler import pages

app_name = "scheduler"
urlpatterns: list[URLPattern] = [
    path("<slug:slug>/ledger/", pages.ledger, name="ledger"),
    path("<slug:slug>/phones/", pages.phones, name="phones"),
]
