"""The JSON merge patch (RFC 7386) that leads from one document to another. No I/O."""

from reranker_operator.world.names import Document


def merge_patch(before: Document, after: Document) -> Document:
    """Only what differs; members that are gone as None. Empty when nothing differs."""
    patch: Document = {member: None for member in before if member not in after}
    for member, value in after.items():
        old = before.get(member)
        if isinstance(old, dict) and isinstance(value, dict):
            below = merge_patch(old, value)
            if below:
                patch[member] = below
        elif member not in before or old != value:
            patch[member] = value
    return patch
