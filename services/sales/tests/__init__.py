"""What sales promises."""
