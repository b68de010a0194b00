"""Addresses of an operator's own pages, below /account/."""

from django.urls import URLPattern, path

from ema import account_pages

app_name = "account"
urlpatterns: list[URLPattern] = [
    path("", account_pages.account, name="account"),
    path("second-factor/", account_pages.second_factor_page, name="second-factor"),
    path("recovery-codes/", account_pages.new_recovery_codes, name="recovery-codes"),
    path("tokens/", account_pages.make_token, name="make-token"),
    path("tokens/<int:number>/revoke/", account_pages.revoke_token, name="revoke-token"),
]
