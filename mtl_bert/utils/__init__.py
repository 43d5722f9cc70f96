"""What every part of the program may use: errors, files, the hub, logging, checks."""
