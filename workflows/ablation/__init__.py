"""Ablation: train and score a recipe and variants of it, to see what each choice is worth.

variants.py    the recipe, its variants and the cells of a grid; each with several pretrainings
running.py     run them: what they share once, and the rest some at a time
results.py     all figures of finished runs

All chains share one output folder. A stage's folder is named after what decides its content, so stages that variants have in
common run once. workflows/report/comparison.py writes the results.
"""
