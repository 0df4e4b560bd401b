"""One Pydantic model per shape that crosses a boundary; parsed here into the domain's values."""
