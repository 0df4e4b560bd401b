"""The composition root: settings to object graph. Imports nothing by itself."""
