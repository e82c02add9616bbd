"""The providers behind the tools: who answers a model, the client that asks, and a stub in their place."""
