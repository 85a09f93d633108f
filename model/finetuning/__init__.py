"""Fine-tuning: a pretrained encoder learns to classify texts or to tag their characters.

finetune.py   the training loop of a task, the choice of the best epoch, predictions
windows.py    texts as the network reads them: framed, cut into windows, batched by length

Tasks, tokenization and scores are in workflows/evaluation.
"""
