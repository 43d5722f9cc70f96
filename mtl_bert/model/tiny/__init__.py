"""The vocabulary of the tiny encoder that the demo trains from random weights.

`vocab.txt` is a WordPiece vocabulary in BERT's order: special tokens, single characters (so that
any lower-cased Latin text can be spelled without [UNK]), the words of the demo corpus, a few
hundred frequent English words, and frequent word endings. It is written by hand, not trained: the
demo's words must stay one token each, because an encoder this small that has seen no other text
cannot learn within minutes which pieces make up a word. New words of the demo corpus go to the end
of the file: a line's number is the token's id, on which saved weights depend.
"""
