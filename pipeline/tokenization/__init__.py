"""From text to tokens and masking units, and the vocabulary of the tokens. First reading: down to stage.py.

sentences.py          他出生在北京。她笑。 -> 他出生在北京。| 她笑。
words.py              他|出生|在|北京|。    words, by jieba or another segmenter; from them the units that are masked as a whole
phrases.py            北京大学 -> one unit: phrases of a list, for the policy `entity`
vocab.py              a vocab.txt: tokens and their ids; building one from counts
vocabulary.py         the stage `vocabulary`: given, or built from the kept documents
wordpiece.py          Cafés -> cafe ##s: the tokens of a text, and where each is in it
encoder.py            all of the above for many documents at once, as flat arrays
encoded.py            documents as tokens, on disk and in memory
known.py              documents that an earlier stage has tokenised
stage.py              the stage `tokens_<source>`
replay.py             the stage `replay_<source>`: tokens of earlier runs
jieba_words.py        jieba's algorithm in numpy, and the two modules it is made of:
trie.py                   its dictionary as a tree of prefixes
jieba_hmm.py              its hidden Markov model for words that the dictionary lacks
"""
