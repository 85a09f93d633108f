"""The files that every export carries, so that transformers can run it (`trust_remote_code=True`): copied, never imported."""
