"""Checks that end a run: after each step, is what it made good enough for the steps after it?

config.py    `[checks]` of a recipe: the limits
outcome.py   what a check finds
table.py     the table of checks
data.py      documents kept, unknown tokens, leaks of what is scored
model.py     the loss, the export beside its checkpoint, the champion
"""
