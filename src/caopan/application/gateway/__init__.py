"""One call of a model from its caller to an endpoint and back, recorded whatever happens."""
