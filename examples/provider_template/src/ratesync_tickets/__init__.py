"""An adapter of ratesync for Tickets, an imaginary help desk."""

from __future__ import annotations

from ratesync_tickets.provider import TicketsProvider

__all__ = ["TicketsProvider"]
