"""Every address of the server; other packages are named as strings only."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from ema import health
from ema.api.alert_doors import Alerts

handler404 = "ema.api.errors.page_not_found"
handler500 = "ema.api.errors.server_error"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="analytics:studies"), name="home"),
    path("favicon.ico", RedirectView.as_view(url="/static/ema/icon.svg")),
    path("admin/", admin.site.urls),
    path("", include("console.open_urls")),
    path("account/", include("ema.account_urls")),
    path("studies/", include("analytics.urls")),
    path("studies/", include("console.urls")),
    path("studies/", include("scheduler.urls")),
    path("api/v1/", include("ema.api.urls")),
    path("api/v1/studies/<slug:slug>/alerts", Alerts.as_view(), name="study-alerts"),
    path("api/v1/studies/", include("analytics.api.urls")),
    path("health/live", health.live, name="live"),
    path("health/ready", health.ready, name="ready"),
]
