"""When the periodic parts last ran."""

from django.db import models


class Heartbeat(models.Model):
    """One row per part: `planner`, `dispatcher`."""

    name = models.CharField(max_length=20, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.at:%Y-%m-%d %H:%M:%S}"
