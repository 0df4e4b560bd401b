"""Models behind the model port: built-in rule traders and OpenAI-compatible endpoints."""
