"""Reading: from a path as typed to bytes that end at record borders, in constant memory.

The way is one-way: `sources.walk` names what there is, `streams.open_streams` unpacks it by content,
`blocks.blocks` cuts it at line feeds, and `records.json_objects` frames JSON that is not one object a line.
Whatever cannot be read becomes a `Skipped` with its place and reason; nothing here raises for bad input.
"""
