"""Fine-tuning: a pretrained encoder learns to classify texts, to tag their characters, to find answers, to compare texts.

finetune.py     a task: its epochs, the choice of the best
multitask.py    several tasks with one encoder
learner.py      a step: loss, gradient, optimizer; predictions
start.py        the encoder that it starts from: one of ours
foreign.py      or any that transformers loads
objectives.py   what is learned: labels of texts, labels of items
contrastive.py  the training loop of vectors of texts
vectors.py      from hidden states to vectors of texts, and how these are spread
values.py       what is learned: numbers for texts, yes or no to labels
choices.py      what is learned: one of some choices
reading.py      what is learned: answers in a passage
windows.py      texts as the network reads them: framed, cut into windows, batched by length

Tasks, tokenization and scores are in workflows/evaluation.
"""
