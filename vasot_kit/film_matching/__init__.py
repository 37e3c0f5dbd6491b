"""Which frames of two films belong together: descriptions of films, the plan, its reading as a path or as pieces."""
