"""From a recipe to the report: the chain of steps, the command `nezha-pipe`, and what goes with them.

    tiny.toml -> recipe.py -> steps.py: tasks, documents_news, ..., checkpoint, export, scores, report -> chain.py runs them

recipe.py          one TOML file -> frozen dataclasses; recipes/ has those that come with the program
toml_settings.py   TOML -> frozen dataclasses, for recipes and clusters; errors name table and key
steps.py           the list of steps of a recipe: what runs, in which order, with which inputs
kinds.py           the table of kinds of stages: summary, preview, rules of `verify`
chain.py           run steps, and what they need; plan; data.json
pretraining.py     the stage `checkpoint`
exporting.py       the stage `export`: a folder that transformers loads, with a model card
evaluation/        the stage `scores`: fine-tune and score on tasks
notifications/     who is told of failures and promotions
registry/          which model is in use: entries, comparisons, the gate
continued/         training that starts from a network, with a share of its text
checks/            what ends a run: limits on data, training and scores
report/            the stages `report` and `data_report`: one HTML page
orchestration/     the history of runs, what Dagster's page shows, and `nezha-pipe ui`
scheduling/        retraining by itself: at set times, or when a new file is there
assets.py          the steps as Dagster assets
definitions.py     the assets of one or several recipes, for the page
ablation/          a recipe and variants of it, side by side
preparing.py       the options of `prepare`, and where it runs
stopping.py        what Ctrl-C does and says
progress.py        the progress display
planning.py        hours, memory and disk from a recipe's numbers
converting.py      weights between our format, TensorFlow and Hugging Face
inspection/        `inspect` and `verify`
inference/         `embed` and `fill-mask`
finetuning/        `finetune`: an export becomes another export
cli/               the command: options, help, errors in one line
manual/            docs/cli.md, docs/recipe.md and docs/errors.md from the code
"""
