"""What makes the tiny folders of each decoder family; what is not said is in fixture_models.build_model."""

LLAMA3_ROPE = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    # So small that 50 tokens see every band: wavelengths of a head of 16 are 6, 32, 167 and more.
    "original_max_position_embeddings": 64,
}
LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.25, 1.5, 2.5], "long_factor": [1.5, 4.0, 9.0, 20.0],
}

# The hidden size is small since most of a folder is its vocabulary.
FAMILIES = {
    "llama": {  # as Llama 2: every head has its own keys and values
        "seed": 201, "family": "llama", "hidden": 12, "heads": 2, "key_value_heads": 2, "feed_forward": 20,
        "tied": False, "epsilon": 1e-5, "old_form": True,
    },
    "llama3": {
        "seed": 202, "family": "llama", "hidden": 12, "heads": 2, "key_value_heads": 1, "head_size": 16,
        "feed_forward": 20, "tied": False, "theta": 5e5, "rope": LLAMA3_ROPE, "epsilon": 1e-5, "old_form": True,
    },
    "llama-linear": {
        "seed": 203, "family": "llama", "hidden": 16, "heads": 4, "key_value_heads": 2, "feed_forward": 24,
        "rope": {"rope_type": "linear", "factor": 4.0}, "old_form": True,
    },
    "llama-biases": {
        "seed": 204, "family": "llama", "hidden": 12, "heads": 3, "key_value_heads": 1, "feed_forward": 20,
        "tied": False, "options": {"attention_bias": True, "mlp_bias": True},
    },
    "llama-tied": {  # as Llama 3.2: head_dim is said
        "seed": 205, "family": "llama", "hidden": 16, "heads": 2, "key_value_heads": 1, "head_size": 16,
        "feed_forward": 24, "theta": 5e5, "rope": {**LLAMA3_ROPE, "factor": 32.0},
    },
    "mistral": {
        "seed": 206, "family": "mistral", "hidden": 12, "heads": 2, "key_value_heads": 1, "feed_forward": 20,
        "tied": False, "epsilon": 1e-5, "old_form": True, "options": {"sliding_window": None},
    },
    "mistral-window": {
        "seed": 207, "family": "mistral", "hidden": 12, "heads": 4, "key_value_heads": 2, "head_size": 8,
        "feed_forward": 20, "tied": False, "theta": 1e6, "options": {"sliding_window": 8},
    },
    "phi3": {  # as Phi-3-mini-4k: a window on every layer
        "seed": 208, "family": "phi3", "hidden": 16, "heads": 2, "key_value_heads": 2, "feed_forward": 20,
        "tied": False, "epsilon": 1e-5, "old_form": True, "options": {"sliding_window": 7},
    },
    "phi3-longrope": {  # as Phi-3-mini-128k
        "seed": 209, "family": "phi3", "hidden": 16, "heads": 2, "key_value_heads": 2, "feed_forward": 20,
        "tied": False, "epsilon": 1e-5, "old_form": True, "rope": LONGROPE, "positions": 4096,
        "options": {"sliding_window": 4096, "original_max_position_embeddings": 1024},
    },
    "phi3-partial": {  # as Phi-4-mini: grouped, tied, a part of each head rotated
        "seed": 210, "family": "phi3", "hidden": 16, "heads": 2, "key_value_heads": 1, "feed_forward": 24,
        "epsilon": 1e-5, "positions": 4096, "options": {"original_max_position_embeddings": 1024},
        "rope": {
            **LONGROPE, "partial_rotary_factor": 0.5, "short_factor": [1.0, 1.5], "long_factor": [2.0, 12.0],
        },
    },
    "qwen3": {
        "seed": 211, "family": "qwen3", "hidden": 16, "heads": 4, "key_value_heads": 2, "head_size": 8,
        "feed_forward": 24, "theta": 1e6, "old_form": True,
    },
    "qwen3-biases": {
        "seed": 212, "family": "qwen3", "hidden": 12, "heads": 2, "key_value_heads": 1, "head_size": 10,
        "feed_forward": 20, "tied": False, "theta": 1e6, "options": {"attention_bias": True},
    },
    "qwen2-window": {  # the upper layer only
        "seed": 213, "hidden": 16, "heads": 4, "key_value_heads": 2, "feed_forward": 24, "old_form": True,
        "options": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    },
}
# For the check only.
DRAWN = {
    **FAMILIES,
    "llama-dynamic": {"family": "llama", "old_form": True, "rope": {"rope_type": "dynamic", "factor": 4.0}},
    "qwen2-llama3": {"head_size": 16, "rope": {**LLAMA3_ROPE, "original_max_position_embeddings": 96}},
    "mistral-linear": {
        "family": "mistral", "rope": {"rope_type": "linear", "factor": 2.5}, "options": {"sliding_window": 30},
    },
}


def drawn(name, generator):
    """A family's folder with other sizes, head counts and ties; the shape that a scaling fixes stays."""
    spec = {**DRAWN[name], "options": dict(DRAWN[name].get("options", {}))}
    spec["seed"] = int(generator.integers(1 << 30))
    spec["feed_forward"] = int(generator.integers(3, 12)) * 4
    spec["tied"] = bool(generator.integers(2))
    spec["epsilon"] = float(generator.choice([1e-5, 1e-6]))
    spec["key_value_heads"] = int(generator.choice([1, 2, 4, 6]))
    spec["heads"] = spec["key_value_heads"] * int(generator.integers(1, 4))
    spec["layers"] = int(generator.integers(1, 4))
    head_size = spec.get("head_size")
    if spec.get("family") == "phi3":
        spec["hidden"] = spec["heads"] * 8  # no head_dim, and a factor for each of its four frequencies
    elif head_size:
        spec["hidden"] = spec["heads"] * int(generator.integers(1, 4))
    else:
        spec["hidden"] = spec["heads"] * int(generator.choice([4, 6, 8, 10, 16]))
    if spec["options"].get("sliding_window"):
        spec["options"]["sliding_window"] = int(generator.integers(1, 40))
    for key in ["attention_bias", "mlp_bias"]:
        if spec.get("family") in ("llama", "qwen3") and not (key == "mlp_bias" and spec["family"] == "qwen3"):
            spec["options"][key] = bool(generator.integers(2))
    if "max_window_layers" in spec["options"]:
        spec["options"]["max_window_layers"] = int(generator.integers(0, 3))
    return spec
