"""What joins an inbound to an outbound: rules, UDP associations, verdicts."""
