"""Finds the family that a checkpoint's config.json names, and refuses what of it isn't built in. No I/O, no torch."""

from collections.abc import Container, Mapping

from reranker_worker.errors import CheckpointError
from reranker_worker.models.families import FAMILIES, HEADLESS, Family

# Members of config.json with the values that packed attention covers.
_OF_ENCODERS: Mapping[str, tuple[object, ...]] = {
    "is_decoder": (None, False),
    "add_cross_attention": (None, False),
    "quantization_config": (None,),
}
# Networks without such a table carry the member along and never read it; mmBERT's and Ettin's say "sans_pos".
_OF_POSITION_TABLES: Mapping[str, tuple[object, ...]] = {"position_embedding_type": (None, "absolute")}
_OF_DECODERS: Mapping[str, tuple[object, ...]] = {
    "use_sliding_window": (None, False),
    "use_bidirectional_attention": (None, False),
    "quantization_config": (None,),
}


def family_of(config: Mapping[str, object]) -> Family:
    """Return the family that a configuration belongs to; raises CheckpointError where none is built in."""
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else ""
    if name in HEADLESS:
        raise CheckpointError(
            "MissingHead",
            f"{name} has no scoring head; a reranker of its kind is {HEADLESS[name].architecture}. A head in folders "
            "of its own, as Sentence Transformers' modules have it (2_Dense), isn't read",
        )
    if name not in FAMILIES:
        if "auto_map" in config:
            raise CheckpointError(
                "RemoteCode", f"architecture {name!r} needs code from the repository (auto_map), which is never run"
            )
        raise CheckpointError(
            "UnsupportedArchitecture", f"architecture {name!r} isn't built in; known: {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[name]
    if family.prompt is not None and "auto_map" in config:
        raise CheckpointError(
            "RemoteCode",
            f"{name} with code of the repository (auto_map), which is never run, may ask otherwise than the built-in "
            "prompt does, and its scores would be wrong without a sign",
        )
    _check_variant(config, family)
    return family


def _check_variant(config: Mapping[str, object], family: Family) -> None:
    required = dict(_OF_ENCODERS if family.prompt is None else _OF_DECODERS) | dict(family.required)
    if family.position_table:
        required |= _OF_POSITION_TABLES
    for key, accepted in required.items():
        if config.get(key) not in accepted:
            raise CheckpointError(
                "UnsupportedArchitecture",
                f"{family.architecture} with {key} {str(config.get(key))[:100]!r} isn't built in; "
                f"accepted: {', '.join(str(value) for value in accepted if value is not None) or 'none'}",
            )
    labels = config.get("id2label", config.get("num_labels", 2))
    count = len(labels) if isinstance(labels, dict) else labels
    if not family.reads_answers and count != 1:
        raise CheckpointError(
            "UnsupportedArchitecture", f"the head has {count} labels; a reranker's has one (num_labels 1)"
        )


def check_model_type(config: Mapping[str, object], family: Family, tensors: Container[str]) -> None:
    """Refuse another author's network of the same name, unless the names of its tensors tell that it is built in."""
    found, layout = config.get("model_type"), family.layout(tensors)
    if found == family.model_type or (found is None and layout is not None and layout.untyped):
        return
    said = "no model_type" if found is None else f"model_type {str(found)[:100]!r}"
    raise CheckpointError(
        "UnsupportedArchitecture",
        f"config.json of {family.architecture} has {said}, and the weights don't tell whose network it is; accepted: "
        f"model_type {family.model_type!r}, as save_pretrained of transformers writes it",
    )
