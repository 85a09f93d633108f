"""What a meeting asks of a run: which model to use, what is new, what failed, what it cost.

config.py       `[report]` of a recipe: the language, and the price of a machine-hour
references.py   what a run is compared with: the champion, and the run before
changes.py      documents now and then: by source, by reason, new and gone
recoveries.py   what failed in training and was recovered, and the time and steps that it cost
costs.py        machine-hours by stage, and their price
judgement.py    the verdict beside the champion, intervals of scores, errors by kind
advice.py       promote, keep, or score again: from the verdict, as data
sentences.py    the same in words
gathering.py    all of it from the folders of stages; figures.py takes it from here
card.py         model_card.md: the card of the export with the figures of the report
"""
