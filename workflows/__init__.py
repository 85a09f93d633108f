"""The chain and a person's door to it.

recipe.py      one TOML file -> frozen classes
chain.py       every stage of a run, each called with what stands before it
assets.py      the same as Dagster assets;  definitions.py  what `dagster dev` loads
cli.py         the command;  progress.py  what one sees while it works
evaluation.py  fine-tune and score;  tasks.py  on what;  scores.py  how
report.py      the page: figures.py numbers, captions.py sentences, plots.py pictures
"""
