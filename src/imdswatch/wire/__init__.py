"""Octets of a network in, protocol values out: packets, streams and messages. Pure, without any judgement."""
