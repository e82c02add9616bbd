"""The tools that the daemon serves: workflow steps, expert phase, web context, call summary."""
