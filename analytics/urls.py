from django.urls import URLPattern, path

from analytics import pages

app_name = "analytics"
urlpatterns: list[URLPattern] = [
    path("", pages.studies, name="studies"),
    path("<slug:slug>/comparison/", pages.comparison, name="comparison"),
    path("<slug:slug>/comparison/figure.svg", pages.figure, name="figure"),
    path("<slug:slug>/comparison/freeze/", pages.freeze_comparison, name="freeze"),
    path("<slug:slug>/comparison/frozen/<int:number>/", pages.frozen_comparison, name="frozen"),
    path("<slug:slug>/snapshots/", pages.snapshots, name="snapshots"),
    path("<slug:slug>/snapshots/request/", pages.ask_for_snapshot, name="ask-for-snapshot"),
]
