"""The door of the system: REST in front, identity, and the events on their way out."""
