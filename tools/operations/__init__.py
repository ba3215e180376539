"""Operations on whole checkpoints. Those that rewrite change a `Draft` and read no tensor; those that look return data.

`recipes.py` applies several of the first kind in one pass.
"""
