"""Where verdicts are obeyed: the table of what is in force, and the answers that clients get."""
