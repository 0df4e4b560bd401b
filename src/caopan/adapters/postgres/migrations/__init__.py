"""Alembic's home: env.py, the revisions and their SQL scripts; shipped inside the package."""
