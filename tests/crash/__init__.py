"""Kills, cuts and restarts, judged by clients' traces and final tables."""
