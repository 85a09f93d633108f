"""Is the pretrained encoder worth its training? Fine-tune it and an untrained network of the same shape, and score both.

config.py        `[evaluation]` of a recipe: which tasks, how many seeds, how to fine-tune
task.py          how a task is described: its kind, its files, what is where in them
catalogue.py     the tasks that come with the program
tasks.py         files become train, dev and test
examples.py      an example
formats/         how files are read
kinds/           the kinds of tasks: what is learned, what an answer is, how it is scored
own_tasks.py     tasks of your own from a TOML file
encoders.py      what is scored: an export of ours, or any encoder that transformers loads
foreign.py       tokenizers and limits of the latter
grid/            settings of each task, presets, grids; runs here or on a cluster
run.py           fine-tune and score each model, task, point and seed; resume what was interrupted
stage.py         the stage `scores`
metrics.py       accuracy, F1 of labels and entities, exact match, correlation, ranking
scores.py        scores.jsonl; best, mean and deviation over seeds
published.py     published scores of Chinese encoders, with their sources
beside.py        our scores beside those
"""
