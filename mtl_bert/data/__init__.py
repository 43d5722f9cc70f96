"""Reading, checking, encoding and collating examples."""
