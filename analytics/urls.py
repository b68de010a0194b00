from django.urls import URLPattern, path

from analytics import cremas_pages, outcome_pages, pages, plan_pages

app_name = "analytics"
urlpatterns: list[URLPattern] = [
    path("", pages.studies, name="studies"),
    path("<slug:slug>/comparison/", pages.comparison, name="comparison"),
    path("<slug:slug>/comparison/figure.svg", pages.figure, name="figure"),
    path(
        "<slug:slug>/comparison/figures/<slug:name>.<slug:kind>",
        pages.figure,
        name="figure-file",
    ),
    path("<slug:slug>/comparison/freeze/", pages.freeze_comparison, name="freeze"),
    path("<slug:slug>/comparison/frozen/<int:number>/", pages.frozen_comparison, name="frozen"),
    path("<slug:slug>/outcomes/", outcome_pages.show, name="outcomes"),
    path(
        "<slug:slug>/outcomes/<slug:event>.<slug:kind>",
        outcome_pages.figure,
        name="outcomes-figure",
    ),
    path("<slug:slug>/cremas/", cremas_pages.show, name="cremas"),
    path("<slug:slug>/cremas/report.<slug:kind>", cremas_pages.file, name="cremas-file"),
    path("<slug:slug>/cremas/compliance.<slug:kind>", cremas_pages.figure, name="cremas-figure"),
    path("<slug:slug>/plans/", plan_pages.plans, name="plans"),
    path("<slug:slug>/plans/write/", plan_pages.write_plan, name="write-plan"),
    path("<slug:slug>/plans/<slug:key>/<int:version>/", plan_pages.one_plan, name="plan"),
    path(
        "<slug:slug>/plans/<slug:key>/<int:version>/lock/", plan_pages.lock_plan, name="lock-plan"
    ),
    path(
        "<slug:slug>/plans/<slug:key>/<int:version>/delete/",
        plan_pages.delete_plan,
        name="delete-plan",
    ),
    path("<slug:slug>/snapshots/", pages.snapshots, name="snapshots"),
    path("<slug:slug>/snapshots/request/", pages.ask_for_snapshot, name="ask-for-snapshot"),
]
