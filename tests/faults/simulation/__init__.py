"""A whole market in one thread: real use cases and a real database, with time, banks, network and people simulated from one seed."""
