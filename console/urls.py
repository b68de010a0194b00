"""Addresses of the coordinator's pages, below /studies/."""

from django.urls import URLPattern, URLResolver, include, path

from console import (
    adverse_events,
    alerts,
    allocation,
    allocation_lists,
    audit,
    compliance,
    enrol,
    entries,
    landing,
    roster,
    timeline,
    today,
    unblinding,
    urine,
)

app_name = "console"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("console.trial_urls")),
    path("landing/", landing.landing, name="landing"),
    path("<slug:slug>/adverse-events/", adverse_events.listed, name="adverse-events"),
    path("<slug:slug>/adverse-events/events.csv", adverse_events.file, name="adverse-events-file"),
    path("<slug:slug>/adverse-events/report/", adverse_events.report, name="report-adverse-event"),
    path(
        "<slug:slug>/adverse-events/<int:event_number>/", adverse_events.one, name="adverse-event"
    ),
    path(
        "<slug:slug>/adverse-events/<int:event_number>/strike/",
        adverse_events.strike,
        name="strike-adverse-event",
    ),
    path("<slug:slug>/entries/", entries.listed, name="entries"),
    path("<slug:slug>/entries/<int:entry_number>/", entries.one, name="entry"),
    path("<slug:slug>/entries/<int:entry_number>/decide/", entries.decide, name="decide-entry"),
    path(
        "<slug:slug>/entries/<int:entry_number>/withdraw/", entries.withdraw, name="withdraw-entry"
    ),
    path("<slug:slug>/urine/", urine.calendar, name="urine"),
    path("<slug:slug>/urine/calendar.csv", urine.calendar_file, name="urine-file"),
    path("<slug:slug>/today/", today.today, name="today"),
    path("<slug:slug>/participants/", roster.participants, name="participants"),
    path("<slug:slug>/participants/participants.csv", roster.roster_file, name="roster-file"),
    path("<slug:slug>/participants/of/<str:code>/", timeline.timeline, name="timeline"),
    path("<slug:slug>/compliance/", compliance.heat_map, name="compliance"),
    path(
        "<slug:slug>/compliance/days.<slug:kind>", compliance.heat_map_file, name="compliance-file"
    ),
    path("<slug:slug>/allocation/", allocation.everybody, name="allocation"),
    path("<slug:slug>/allocation/lists/", allocation_lists.lists, name="allocation-lists"),
    path("<slug:slug>/allocation/lists/draw/", allocation_lists.draw, name="draw-list"),
    path("<slug:slug>/allocation/lists/upload/", allocation_lists.upload, name="upload-list"),
    path("<slug:slug>/allocation/of/<str:code>/", allocation.one, name="allocate"),
    path("<slug:slug>/allocation/of/<str:code>/in-error/", allocation.in_error, name="in-error"),
    path("<slug:slug>/alerts/", alerts.inbox, name="alerts"),
    path("<slug:slug>/alerts/rules/", alerts.rules, name="alert-rules"),
    path("<slug:slug>/alerts/rules/offered/", alerts.add_offered, name="add-offered-rules"),
    path("<slug:slug>/alerts/<int:alert_number>/", alerts.one, name="alert"),
    path(
        "<slug:slug>/alerts/<int:alert_number>/acknowledge/",
        alerts.acknowledge,
        name="acknowledge-alert",
    ),
    path("<slug:slug>/alerts/<int:alert_number>/note/", alerts.add_note, name="add-alert-note"),
    path("<slug:slug>/audit/", audit.events, name="audit"),
    path("<slug:slug>/audit/changes/", audit.changes, name="audit-changes"),
    path("<slug:slug>/audit/events/<int:audit_event>/", audit.event, name="audit-event"),
    path("<slug:slug>/audit/files/<slug:of>.<slug:file_format>", audit.download, name="audit-file"),
    path("<slug:slug>/unblinding/", unblinding.one, name="unblind"),
    path("<slug:slug>/unblinding/study/", unblinding.whole, name="unblind-study"),
    path("<slug:slug>/enrol/", enrol.enrol, name="enrol"),
    path("<slug:slug>/enrol/<str:code>/code/", enrol.new_code, name="new-code"),
    path("<slug:slug>/enrol/<str:code>/hours/", enrol.waking_hours, name="waking-hours"),
]
