"""The operators' site: Django's admin under our own name."""

from django.contrib.admin import AdminSite


class OperatorSite(AdminSite):
    site_header = "Fourbeat"
    site_title = "Fourbeat"
    index_title = "Today"
