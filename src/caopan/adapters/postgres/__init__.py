"""PostgreSQL: tables, repositories, units of work, migrations, bars.

Owns every table and every SQL statement. Must never let a table class or a driver's exception out,
nor decide anything the domain decides. Tests: tests/contract/store, tests/integration/postgres.
"""
