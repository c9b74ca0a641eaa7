"""The tables: orders, which are updated in place, and two tables that handlers maintain."""

from typing import TypeAlias

from django.db import models

# Field types for pyright, which cannot infer them; mypy infers them with the plugin of django-stubs.
Text: TypeAlias = "models.TextField[str, str]"
Integer: TypeAlias = "models.IntegerField[int, int]"


class Order(models.Model):
    number: Text = models.TextField(primary_key=True)
    customer: Text = models.TextField()
    sku: Text = models.TextField()
    quantity: Integer = models.IntegerField()
    status: Text = models.TextField(default="placed")

    class Meta:
        db_table = "orders"


class Stock(models.Model):
    """Pieces on hand."""

    sku: Text = models.TextField(primary_key=True)
    on_hand: Integer = models.IntegerField()

    class Meta:
        db_table = "stock"


class Mail(models.Model):
    """An e-mail to send."""

    event_id: Text = models.TextField(primary_key=True)
    recipient: Text = models.TextField()
    subject: Text = models.TextField()

    class Meta:
        db_table = "outgoing_mail"
