"""What is printed and drawn from an assessment: Markdown, LaTeX, JSON, figures, and the commands that write them."""
