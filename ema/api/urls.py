from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView

from ema.api import participant, uploads, views
from ema.api.reference import PublishedSchema, reference

app_name = "phone"
urlpatterns = [
    path("enrolments/redeem", views.Redeem.as_view(), name="redeem"),
    path("tokens/refresh", views.Refresh.as_view(), name="refresh"),
    path("time", views.Time.as_view(), name="time"),
    path(
        "questionnaires/<slug:key>/<int:version>",
        views.Questionnaire.as_view(),
        name="questionnaire",
    ),
    path("me/config", participant.Config.as_view(), name="config"),
    path("me/preferences", participant.Preferences.as_view(), name="preferences"),
    path("me/withdraw", participant.Withdraw.as_view(), name="withdraw"),
    path("me/data", participant.OwnData.as_view(), name="data"),
    path("me/schedule", views.Schedule.as_view(), name="schedule"),
    path("me/submissions:batch", uploads.Submissions.as_view(), name="submissions"),
    path("me/events:batch", uploads.Events.as_view(), name="events"),
    path("me/push-registration", views.PushRegistration.as_view(), name="push-registration"),
    path("docs/", reference, name="docs"),
    path("schema/", SpectacularJSONAPIView.as_view(generator_class=PublishedSchema), name="schema"),
]
