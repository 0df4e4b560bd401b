"""The sandbox exchange as a broker."""
