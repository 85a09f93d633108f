"""Fine-tune an exported encoder into another export: the command `finetune`.

texts.py          raw texts or pairs of texts -> what is learned; what is left out is counted
exporting.py      the files of the new export
contrastive.py    tune vectors of texts, write the new export with its card
multitask.py      learn several tasks with one encoder, write the new export with its card
"""
