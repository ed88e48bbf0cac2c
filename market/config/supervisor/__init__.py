"""Runs a whole market on one machine: its services, its processes, and their end. No process of the market imports this."""
