"""The room of one host: what its files say of AWS tools on it, whether these would ask an impostor, and what closes it.

`tree` reads below a root, `facts` says what stands there, `checks` judges (pure), `change` names what closes a gap.
"""
