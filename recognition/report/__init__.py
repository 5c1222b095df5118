"""What was measured, for people and for programs: pages, Markdown, JSON, charts."""
