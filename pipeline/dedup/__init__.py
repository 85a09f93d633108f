"""Deduplication and decontamination: which documents of all sources are kept, and why the others are dropped.

ngrams.py             ＡＢ，好！ -> a b 好: normalised characters, and hashes of their n-grams
minhash.py            a signature of a few hundred bytes per document; similar documents have similar signatures
short_texts.py        short documents: anchors, at which similar and longer documents are recognised
signatures.py         the stage `signatures_<source>`, which stores them
evaluation_texts.py   the stage `evaluation`: n-grams of the texts that models are evaluated on
decontamination.py    the stage `contamination_<source>`: documents that contain such n-grams
decisions.py          what is decided on each document alone: withdrawn, filtered (too_short, ...), contaminated
short_pairs.py        short documents with a common anchor, compared exactly
clusters.py           duplicates and near duplicates over all sources: pairs, clusters, which document of each is kept
edges.py              the graph of pairs: its components, also at other thresholds
paragraphs.py         long lines that an earlier document has
overview.py           what a person should see of kept documents: samples, frequent lines and titles, other thresholds
stage.py              the stage `dedup`, which puts all of it together
dropping.py           its files, counts and samples
kept.py               for later stages: the documents that are kept, without repeated paragraphs
"""
