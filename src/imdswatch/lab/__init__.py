"""The attack, rehearsed in network namespaces without a way out: a simulated IMDS, scenarios, real clients."""
