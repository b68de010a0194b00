"""Who gets in where: a table, the world it is tried in, and how a row is read."""
