"""The bundled templates, one file a version and language."""
