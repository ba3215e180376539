"""Operations on whole checkpoints, and the command line."""
