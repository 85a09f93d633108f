"""From a recipe to the report: the chain of steps, the command `nezha-pipe`, and what goes with them.

    tiny.toml -> recipe.py -> steps.py: tasks, documents_news, ..., checkpoint, export, scores, report -> chain.py runs them

recipe.py          one TOML file -> frozen dataclasses; recipes/ has those that come with the program
steps.py           the list of steps of a recipe: what runs, in which order, with which inputs
kinds.py           the table of kinds of stages: summary, preview, rules of `verify`
chain.py           run steps, and what they need; plan; data.json
pretraining.py     the stage `checkpoint`
exporting.py       the stage `export`: a folder that transformers loads, with a model card
evaluation/        the stage `scores`: fine-tune and score on tasks
report/            the stages `report` and `data_report`: one HTML page
assets.py          the steps as Dagster assets; definitions.py is what `dagster dev` loads
ablation.py        a recipe and variants of it, side by side
preparing.py       the options of `prepare`, and where it runs
progress.py        the progress display
planning.py        hours, memory and disk from a recipe's numbers
converting.py      weights between our format, TensorFlow and Hugging Face
inspection/        `inspect` and `verify`
inference/         `embed` and `fill-mask`
cli/               the command: options, help, errors in one line
manual.py          docs/cli.md and docs/recipe.md from the code
"""
