"""Call Python, run jobs and launch programs on any machine you can reach."""
