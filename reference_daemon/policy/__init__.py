"""What the daemon decides: events in, decisions out. No I/O, no clock, no chance, no logging."""
