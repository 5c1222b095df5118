"""What the pages show of each kind of target, a module for each: facts of report.json in, a Section out."""
