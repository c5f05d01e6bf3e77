"""The networks of all families: their layers and attention, their files, their LoRA adapters."""
