"""Which model is in use, on what grounds, and whether another is better: entries, the gate and the champion, as plain files.

config.py           `[gate]` of a recipe: margins, confidence, what the model is for
entries.py          an entry: everything that is known of a model, in files that never change
lineage.py          what an entry says of data, recipe, code and cost, from the folders of stages
licences.py         which licences forbid a use
contaminated.py     which scored texts are in documents that were trained on
predictions.py      scores with the predictions of each example, as arrays that can be resampled
resampled.py        metrics from sums over examples
bootstrap.py        the interval of a difference: examples and seeds are both resampled
gate.py             verdicts: better, no worse than the margin, worse, or cannot tell
comparison.py       two models side by side: intervals, and what was not the same
history.py          the champion: a history to which of several processes one adds
promotion.py        promote and rollback
stage.py            the stage `promotion`: register, judge and promote at the end of a run
tables.py           entries, verdicts and the history as text
"""
