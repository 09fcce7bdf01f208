"""Sockets: requests out, answers in, and how far each got."""
