"""The endless scan: feeds are read as they grow, what they show is kept in a state, findings are told when they change.

`feed` is what every input looks like, `judgement` what judges all of them and is replaced by a reload.
"""
