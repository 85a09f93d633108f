"""Is the pretrained encoder worth its training? Fine-tune it and an untrained network of the same shape, and score both.

config.py        `[evaluation]` of a recipe: which tasks, how many seeds, how to fine-tune
examples.py      read tab-separated files, JSON lines and tagged sentences
tasks.py         the tasks: names, files, splits
encoding.py      examples -> tokens, and predicted numbers -> labels
run.py           fine-tune and score each model, task and seed; resume what was interrupted
stage.py         the stage `scores`
scores.py        accuracy and entity F1, mean and deviation over seeds, scores.jsonl
"""
