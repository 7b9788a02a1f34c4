"""Orders."""

from django.db import models


class Order(models.Model):
    """One order, by the number that the client gave it."""

    number = models.IntegerField(unique=True)
    worker = models.IntegerField()
