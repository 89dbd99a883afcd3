"""Texts of an exact number of tokens, so that text and token ids are the same input."""

import random

import transformers


class Texts:
    """Seeded texts over a folder's tokenizer."""

    def __init__(self, folder, seed=1):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.random = random.Random(seed)
        self.special = len(self.ids(""))
        self.words = self.find_words()

    def ids(self, text, **settings):
        return self.tokenizer(text, **settings)["input_ids"]

    def find_words(self):
        """Words that are one token each, inside a text."""
        names = sorted(self.tokenizer.get_vocab())
        byte_level = any(name.startswith("Ġ") for name in names)
        words = [name.removeprefix("Ġ") for name in names
                 if name.startswith("Ġ") == byte_level]
        words = [w for w in words if w.isascii() and w.isalpha() and w.islower() and len(w) > 2]
        ids = self.ids(["a " + word for word in words])
        return [w for w, i in zip(words, ids) if len(i) == 2 + self.special]

    def text(self, tokens):
        """A text of `tokens` tokens, special ones included."""
        n = tokens - self.special
        # It starts with a letter: byte-level tokenizers cut the first word in another way.
        return "a" + "".join(" " + self.random.choice(self.words) for _ in range(n - 1))

    def batch(self, lengths):
        """Texts of these lengths and their ids."""
        texts = [self.text(n) for n in lengths]
        ids = [self.ids(text) for text in texts]
        assert [len(i) for i in ids] == list(lengths), "a text has another number of tokens"
        return texts, ids

    def log_normal(self, total, mean, limit):
        """Lengths with a log-normal spread (sigma 0.6), about `total` tokens in all."""
        # The mean of exp(N(mu, s)) is exp(mu + s^2 / 2).
        lengths = []
        while sum(lengths) < total:
            length = mean * self.random.lognormvariate(-0.18, 0.6)
            lengths.append(int(min(max(length, self.special + 4), limit)))
        return lengths
