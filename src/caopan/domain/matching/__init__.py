"""The sandbox exchange's matching, as pure functions over finished bars."""
