"""transformers and sentence-transformers, as a careful user runs them."""

import time

import sentence_transformers
import torch
import transformers

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Timer:
    """Seconds of a `with` block. What runs in it must end with its results on this side: a GPU's
    work goes on by itself."""

    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start


def padded(batch, pad, left, device="cpu"):
    """Ids and attention mask, as long as the longest sequence."""
    width = max(len(ids) for ids in batch)
    rows, masks = [], []
    for ids in batch:
        gap = width - len(ids)
        zeros, ones = [0] * gap, [1] * len(ids)
        rows.append([pad] * gap + ids if left else ids + [pad] * gap)
        masks.append(zeros + ones if left else ones + zeros)
    return torch.tensor(rows, device=device), torch.tensor(masks, device=device)


def by_length(items, size, length=len):
    """Batches of indices, longest first, so that little is padded."""
    order = sorted(range(len(items)), key=lambda i: -length(items[i]))
    return [order[i:i + size] for i in range(0, len(order), size)]


class Transformers:
    """A bare model with sdpa attention; `pooling` is mean, cls or last."""

    def __init__(self, folder, precision, pooling, device="cpu"):
        self.model = transformers.AutoModel.from_pretrained(
            folder, dtype=DTYPES[precision], attn_implementation="sdpa").eval().to(device)
        self.pooling = pooling
        self.device = device

    @torch.inference_mode()
    def embed(self, ids, batch_size):
        """One normalised f32 vector a sequence, in order."""
        vectors = [None] * len(ids)
        for part in by_length(ids, batch_size):
            rows, mask = padded([ids[i] for i in part], 0, self.pooling == "last", self.device)
            hidden = self.model(input_ids=rows, attention_mask=mask).last_hidden_state
            if self.pooling == "mean":
                weights = mask[:, :, None].to(hidden.dtype)
                pooled = (hidden * weights).sum(1) / weights.sum(1)
            else:
                pooled = hidden[:, -1 if self.pooling == "last" else 0]
            for i, vector in zip(part, torch.nn.functional.normalize(pooled.float(), dim=1)):
                vectors[i] = vector
        return torch.stack(vectors).cpu()

    def time_embed(self, ids, batch_size):
        with Timer() as timer:
            self.embed(ids, batch_size)
        return timer.seconds


class SentenceTransformers:
    """`encode`, by default in f32, with its own tokenizing and sorting."""

    def __init__(self, folder, max_tokens=None, precision="f32", device="cpu"):
        self.model = sentence_transformers.SentenceTransformer(
            str(folder), device=device,
            model_kwargs={"dtype": DTYPES[precision], "attn_implementation": "sdpa"})
        if max_tokens:
            self.model.max_seq_length = max_tokens

    def embed(self, texts, batch_size=32):
        return torch.tensor(self.model.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False))

    def time_embed(self, texts, batch_size):
        with Timer() as timer:
            self.embed(texts, batch_size)
        return timer.seconds


class Judge:
    """Qwen3-Reranker as its model card runs it: left-padded, "yes" against "no" at the end."""

    def __init__(self, folder, precision, device="cpu"):
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=DTYPES[precision], attn_implementation="sdpa").eval().to(device)
        self.device = device
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.answers = [tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]

    @torch.inference_mode()
    def score(self, pairs, batch_size, all_logits=False):
        """Probabilities in order. `all_logits`: the whole vocabulary at every position, as the
        model card's code does; otherwise at the last one only."""
        ids = [pair["ids"] for pair in pairs]
        scores = [None] * len(ids)
        for part in by_length(ids, batch_size):
            rows, mask = padded([ids[i] for i in part], 0, True, self.device)
            logits = self.model(input_ids=rows, attention_mask=mask, use_cache=False,
                                logits_to_keep=0 if all_logits else 1).logits[:, -1]
            yes = logits[:, self.answers].float().log_softmax(1)[:, 1].exp()
            for i, score in zip(part, yes.tolist()):
                scores[i] = score
        return scores

    def time_score(self, pairs, batch_size, all_logits=False):
        with Timer() as timer:
            self.score(pairs, batch_size, all_logits)
        return timer.seconds


class CrossEncoder:
    """A BERT cross-encoder with one output."""

    def __init__(self, folder, precision):
        self.model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=DTYPES[precision], attn_implementation="sdpa").eval()

    @torch.inference_mode()
    def score(self, pairs, batch_size):
        scores = [None] * len(pairs)
        for part in by_length(pairs, batch_size, lambda pair: len(pair["ids"])):
            rows, mask = padded([pairs[i]["ids"] for i in part], 0, left=False)
            types, _ = padded([pairs[i]["types"] for i in part], 0, left=False)
            logits = self.model(input_ids=rows, attention_mask=mask, token_type_ids=types).logits
            for i, score in zip(part, logits[:, 0].float().sigmoid().tolist()):
                scores[i] = score
        return scores

    def time_score(self, pairs, batch_size):
        with Timer() as timer:
            self.score(pairs, batch_size)
        return timer.seconds
