"""Where flows go: one object per name that a rule's target can be."""
