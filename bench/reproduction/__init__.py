"""What `python -m bench paper` is made of: methods, their training, their judgement, tables and figures."""
