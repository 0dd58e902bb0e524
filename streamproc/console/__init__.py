"""`streamproc console`: the analyst's page. What goes on and why, read from the topics; labels, written to one."""
