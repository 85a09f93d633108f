"""Whom a run tells what became of it: `[notify]` of a recipe.

config.py     a command, a URL, or both
sending.py    send an event, try again for a while, and stop no run
"""
