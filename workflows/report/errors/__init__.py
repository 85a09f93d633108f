"""The page of errors: what a model got wrong, by kind, beside what another model said.

cases.py    a row of predictions and its texts -> a case: gold, guess, what kind of error it is
kinds.py    counts and rates of each kind, the most informative first
page.py     predictions of two models -> errors.html
"""
