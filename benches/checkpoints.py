"""Model folders to measure: seeded random weights in real shapes, made once and kept.

Speed does not depend on what the weights say, and the comparison of numbers is as sharp with
random weights as long as the results are well spread; see `randomise`.
"""

import json
import os
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file

from . import vocabulary

# Qwen3-Embedding-0.6B and Qwen3-Reranker-0.6B as published.
QWEN3_06B = dict(
    vocab_size=151669, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
    num_attention_heads=16, num_key_value_heads=8, head_dim=128, rms_norm_eps=1e-6,
    hidden_act="silu", attention_bias=False, tie_word_embeddings=True,
)
# What the other sizes of Qwen3-Embedding and Qwen3-Reranker have instead. The head of 8B is not tied.
QWEN3 = {
    "0.6b": QWEN3_06B,
    "4b": QWEN3_06B | dict(hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
                           num_attention_heads=32),
    "8b": QWEN3_06B | dict(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36,
                           num_attention_heads=32, tie_word_embeddings=False),
    # Of no model: for a look at whether everything runs.
    "tiny": QWEN3_06B | dict(vocab_size=1024, hidden_size=64, intermediate_size=128,
                             num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                             head_dim=32),
}
# BAAI/bge-small-en-v1.5 as published.
BGE_SMALL = dict(
    vocab_size=30522, hidden_size=384, intermediate_size=1536, num_hidden_layers=12,
    num_attention_heads=12, max_position_embeddings=512, type_vocab_size=2, hidden_act="gelu",
)
SHARD_BYTES = 400 << 20


def randomise(model, seed, device="cpu"):
    """Weights of the size that keeps activations of order one through all layers. A GPU draws
    billions of them in seconds, and others than the CPU.

    Embeddings have the published configurations' `initializer_range`: with tied weights they are
    the head too, and larger ones would push every probability to 0 or 1.
    """
    generator = torch.Generator(device).manual_seed(seed)
    tensors = {}
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator, device=device)
        if "norm" in name.lower() and name.endswith("weight"):
            noise = 1 + 0.2 * noise
        elif p.dim() == 1:
            noise *= 0.1
        elif "embed" in name or "lm_head" in name:
            noise *= 0.02
        else:
            noise *= 1.2 / p.shape[1] ** 0.5
        tensors[name] = noise.bfloat16().cpu()
    return tensors


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text, indent=1) + "\n")


def save(folder, tensors, sharded):
    """One file, or shards with an index, as hubs hold them."""
    if not sharded:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        return
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        bytes_ = tensor.numel() * tensor.element_size()
        if shards[-1] and size + bytes_ > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += bytes_
    index = {}
    for i, shard in enumerate(shards, 1):
        file = f"model-{i:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        index |= dict.fromkeys(shard, file)
    write(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def embedder_files(folder, pooling, width, prompts):
    """What sentence-transformers adds to a model."""
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(folder, "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(parts)
    ])
    modes = {f"pooling_mode_{mode}": False for mode in ("cls_token", "mean_tokens", "lasttoken")}
    write(folder, "1_Pooling/config.json", {
        "word_embedding_dimension": width, **modes, f"pooling_mode_{pooling}": True,
    })
    write(folder, "config_sentence_transformers.json",
          {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"})


class Checkpoints:
    """The folder they are kept in. `device` draws the weights."""

    def __init__(self, folder, device="cpu"):
        self.folder = pathlib.Path(folder)
        self.device = device

    def make(self, name, fill):
        """The folder `name`; `fill` writes it if it is not there whole."""
        final = self.folder / name
        if not final.exists():
            print(f"making {name}", flush=True)
            partial = self.folder / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            fill(partial)
            partial.rename(final)
        return final

    def qwen3(self, role, layers=None, tied=True, sharded=False, size="0.6b"):
        """A size of QWEN3 as an `embedder` or a `reranker`, with all its layers or some."""
        shape = QWEN3[size]
        layers = layers or shape["num_hidden_layers"]
        tied = tied and shape["tie_word_embeddings"]
        tokenizer, kind = vocabulary.qwen3(role)
        positions = {"embedder": 32768, "reranker": 40960}[role]
        values = shape | {"num_hidden_layers": layers, "tie_word_embeddings": tied,
                              "max_position_embeddings": positions}
        config = transformers.Qwen3Config(**values)

        def fill(folder):
            with torch.device("meta"):
                # Published embedders name their tensors without `model.`, rerankers with it.
                model = (transformers.Qwen3Model if role == "embedder"
                         else transformers.Qwen3ForCausalLM)(config)
            save(folder, randomise(model, layers, self.device), sharded)
            write(folder, "config.json", values | {
                "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
                "rope_theta": 1000000, "rope_scaling": None, "torch_dtype": "bfloat16"})
            tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
            write(folder, "tokenizer_config.json", {
                "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072,
                "pad_token": "<|endoftext|>", "padding_side": "left"})
            if role == "embedder":
                prompt = ("Instruct: Given a web search query, retrieve relevant passages that "
                          "answer the query\nQuery:")
                embedder_files(folder, "lasttoken", shape["hidden_size"],
                               {"query": prompt, "document": ""})

        return self.make("-".join([
            f"qwen3-{size}-{role}", f"{layers}-layers", f"{kind}-tokenizer",
            *([] if tied else ["untied"]), *(["sharded"] if sharded else []),
        ]), fill)

    def small(self, minilm):
        """The real all-MiniLM-L6-v2 if it is there, else a random BERT of bge-small's shape."""
        if minilm and (pathlib.Path(minilm) / "model.safetensors").exists():
            return pathlib.Path(minilm), "all-MiniLM-L6-v2"
        return self.bge_small(), "bge-small shape"

    def bge_small(self):
        config = transformers.BertConfig(**BGE_SMALL)

        def fill(folder):
            with torch.device("meta"):
                model = transformers.BertModel(config)
            save(folder, randomise(model, seed=1), sharded=False)
            write(folder, "config.json", BGE_SMALL | {
                "architectures": ["BertModel"], "model_type": "bert", "layer_norm_eps": 1e-12})
            vocabulary.word_pieces(BGE_SMALL["vocab_size"]).save(str(folder / "tokenizer.json"))
            write(folder, "tokenizer_config.json", {
                "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512,
                "pad_token": "[PAD]"})
            embedder_files(folder, "cls_token", BGE_SMALL["hidden_size"], {})

        return self.make("bge-small-shape", fill)

    def cross_encoder(self, minilm):
        """The small embedder with a random classifier of one output on top."""
        base, title = self.small(minilm)

        def fill(folder):
            torch.manual_seed(2)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(
                base, num_labels=1, dtype=torch.float32)
            model.classifier.weight.data.normal_(std=0.05)
            model.save_pretrained(folder)
            for file in ("tokenizer.json", "tokenizer_config.json"):
                shutil.copy(base / file, folder / file)

        return self.make(f"{base.name}-cross-encoder", fill), f"cross-encoder on {title}"


def default_folder():
    return os.environ.get("LIVEDEX_BENCH_DATA", ".livedex/bench")
