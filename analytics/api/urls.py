from django.urls import URLPattern, path

from analytics.api import views

app_name = "analysis"
urlpatterns: list[URLPattern] = [
    path("<slug:slug>/comparison", views.ComparisonDoor.as_view(), name="comparison"),
    path("<slug:slug>/outcomes", views.OutcomesDoor.as_view(), name="outcomes"),
    path("<slug:slug>/safety", views.SafetyDoor.as_view(), name="safety"),
    path("<slug:slug>/cremas", views.CremasDoor.as_view(), name="cremas"),
    path("<slug:slug>/snapshots/", views.Snapshots.as_view(), name="snapshots"),
    path(
        "<slug:slug>/snapshots/<uuid:snapshot>/files/<path:name>",
        views.SnapshotFileDoor.as_view(),
        name="snapshot-file",
    ),
]
