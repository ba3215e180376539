"""Operations on drafts: each changes a `Draft` and reads no tensor. `recipes.py` applies several in one pass."""
