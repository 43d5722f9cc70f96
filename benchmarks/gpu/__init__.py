"""What only a GPU can show, in one command: ``make gpu``; see README.md beside this file."""
