"""Continued pretraining: a training that starts from a network, with a share of the text that this was trained on.

config.py       `[replay]` of a recipe: how much old text, and where it is
start.py        the network to start from, and which champion an unfinished run started from
old_text.py     the text that a network was trained on, from the folders of its stages
forgetting.py   the loss on held-out old text, before and after
"""
