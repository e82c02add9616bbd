"""A minimal WebSocket daemon in front of slow, capped LLM providers: the system under test."""
