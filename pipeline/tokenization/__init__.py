"""Chinese text: from the characters of a record to tokens of a vocabulary.

characters.py, boilerplate.py, letters.py       国家主席…  what is invisible or a button of a page goes; cleaning.py does all
language.py                                     which language and script a document is in
quality.py, repetition.py                       what the filters measure: 0.92 Chinese, 0.03 repeated lines
privacy.py                                      mail, telephone, identity card -> masked, and counted
sentences.py                                    他出生在北京。她笑。 -> 他出生在北京。| 她笑。
words.py, dictionary.py, hidden_markov.py       他|出生|在|北京|。  as jieba finds them; phrases.py joins entities
vocab.py, tokens.py                             WordPiece: the tokens of a text, and where each begins
text_tokens.py                                  all of the last three for many documents at once, in flat columns
"""
