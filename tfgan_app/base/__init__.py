"""What everything stands on, and which imports none of the rest."""
