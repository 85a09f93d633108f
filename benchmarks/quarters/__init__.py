"""`python -m benchmarks quarters`: quarters of retraining with nobody watching, while runs are killed and the store is away.

text.py     what each quarter brings: a dump, a file of news, a list of withdrawn documents
recipe.py   the recipe of each quarter: the first model, one that is trained on, one that is spoilt
store.py    the store with the corpus and the registry
daemon.py   `nezha-pipe ui` as a process, with a schedule that watches the store
faults.py   kills and failures of the store, by a seeded plan
proof.py    what the files say afterwards: what was done again, withdrawn text, the start of training, the same bytes
report.py   the table and the rows of JSON
run.py      all of it
costs.py    by itself: the CPU of each stage of `prepare` in two quarters
"""
