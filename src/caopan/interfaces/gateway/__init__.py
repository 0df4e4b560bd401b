"""The model gateway's door: HTTP as OpenAI's clients speak it, and the gateway's own pages."""
